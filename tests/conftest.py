"""Fixtures shared by all tests: toy examples, an in-memory store, the folder of shared data."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_curriculum.types import EncodedView, Example, IntArray, Message


def make_example(index: int, response: str, instruction: str = "Say it.", ability: str | None = None) -> Example:
    """An example with one user and one assistant turn."""
    digest = hashlib.blake2b(f"{instruction}\0{response}".encode(), digest_size=16).hexdigest()
    return Example(
        index=index,
        id=f"toy-{index}",
        messages=(Message(role="user", content=instruction), Message(role="assistant", content=response)),
        content_hash=digest,
        ability=ability,
        source=f"toy.jsonl:{index + 1}",
    )


class ListStore:
    """An :class:`~lit_curriculum.types.ExampleStore` over a list; a token is a byte, and the response is scored."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = list(examples)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int, /) -> Example:
        return self.examples[index]

    @property
    def content_hashes(self) -> NDArray[np.bytes_]:
        return np.array([e.content_hash.encode() for e in self.examples], dtype="S32")

    @property
    def abilities(self) -> Sequence[str | None]:
        return [e.ability for e in self.examples]

    def encoded(self, index: int, view: str, /) -> EncodedView:
        example = self.examples[index]
        prompt = f"<{example.instruction}>" if view == "conditioned" else "<>"
        ids = np.frombuffer((prompt + example.response).encode(), dtype=np.uint8).astype(np.int32)
        scored = np.zeros(len(ids), dtype=bool)
        scored[len(prompt.encode()) :] = True
        return EncodedView(ids, scored)

    def lengths(self, view: str, /) -> IntArray:
        return np.array([len(self.encoded(i, view).input_ids) for i in range(len(self))], dtype=np.int64)

    def num_scored(self, view: str, /) -> IntArray:
        return np.array([self.encoded(i, view).scored.sum() for i in range(len(self))], dtype=np.int64)


@pytest.fixture
def toy_examples() -> list[Example]:
    """Forty short examples of four abilities, lengths rising."""
    words = ["red", "blue", "green", "boat", "fish", "sun", "sea", "rope", "net", "sail", "wind", "rain"]
    return [
        make_example(i, " ".join(words[(i * 5 + j) % 12] for j in range(1 + i % 7)), f"Name {i} things.", f"a{i % 4}")
        for i in range(40)
    ]


@pytest.fixture
def toy_store(toy_examples: list[Example]) -> ListStore:
    """The toy examples behind the store's interface."""
    return ListStore(toy_examples)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, or a skip where it is not at hand."""
    folder = Path(os.environ.get("LIT_CURRICULUM_SHARED", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "manifest.json").exists():
        pytest.skip("the folder of shared data is not at hand (set LIT_CURRICULUM_SHARED)")
    return folder


LONG_FILES = (
    "test_ranks.py", "test_configs.py", "test_score_select.py", "test_resume.py", "test_growth_ranks.py",
    "test_real_server.py", "test_compiled.py", "test_reproduce.py", "test_guides.py", "test_causal_lm_cli.py",
    "test_real_data.py", "test_fake_accelerator.py", "test_reference_ifd.py", "test_engine_ranks.py",
    "test_default_callbacks_ranks.py", "test_exactness.py", "test_callback_rounds.py", "test_callback_server.py",
    "test_examples.py", "test_scoring_benchmark.py", "test_growth_command.py", "test_datamodule_lightning.py",
    "test_hub.py", "test_cli.py", "test_learned_metrics_refresh.py", "test_learned_refresh.py",
    "test_report_page.py", "test_imports_of_commands.py", "test_tapir_configs.py", "test_engine_reuse.py",
    "test_trainer_settings.py", "test_trace.py", "test_true_difficulty.py", "test_config_plans.py", "test_plan.py",
    "test_campus_overrides.py", "test_sandbox.py", "test_planted_truths.py",
)  # fmt: skip
"""Files of ten seconds or more, marked slow; the first five take a minute and are begun first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark long files slow and begin the longest first: last, one would keep a single process busy at the end."""
    places = {name: place for place, name in enumerate(LONG_FILES)}
    for item in items:
        if item.path.name in places:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: min(places.get(item.path.name, 5), 5))
