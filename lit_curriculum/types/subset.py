"""A subset of a data set, as a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.types.examples import EncodedView, Example, ExampleStore, IntArray


class Subset:
    """The examples ``indices`` of a store, renumbered from 0, as an ``ExampleStore``; nothing is copied.

    Args:
        store: The whole.
        indices: [K] which of its examples; :attr:`indices` keeps them.
    """

    def __init__(self, store: ExampleStore, indices: IntArray) -> None:
        self.store = store
        self.indices = indices
        """[K] which examples of the whole they are."""

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> Example:
        return self.store[int(self.indices[index])]

    @property
    def identity(self) -> dict[str, Any]:
        """What made the tokens, in parts with names."""
        return dict(getattr(self.store, "identity", {}))

    @property
    def content_hashes(self) -> NDArray[np.bytes_]:
        """[K] content hashes."""
        return self.store.content_hashes[self.indices]

    @property
    def abilities(self) -> Sequence[str | None]:
        """[K] ability of each example."""
        everything = self.store.abilities
        return [everything[int(i)] for i in self.indices]

    def lengths(self, view: str, /) -> IntArray:
        """[K] number of tokens of ``view``."""
        return self.store.lengths(view)[self.indices]

    def num_scored(self, view: str, /) -> IntArray:
        """[K] number of scored tokens of ``view``."""
        return self.store.num_scored(view)[self.indices]

    def encoded(self, index: int, view: str, /) -> EncodedView:
        """The tokens of one view of one example."""
        return self.store.encoded(int(self.indices[index]), view)
