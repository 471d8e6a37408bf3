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


LONG_FILES = ("test_ranks.py", "test_configs.py", "test_score_select.py", "test_resume.py", "test_growth_ranks.py")
"""Files of a minute or more, the longest first: begun last, one of them would keep a single process busy at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; all others stay in their order."""
    places = {name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG_FILES)))
