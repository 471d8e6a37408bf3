"""What examples are called and what they say, for files that people read; many at once where the store can."""

from __future__ import annotations

import numpy as np

from lit_curriculum.data.store import EncodedStore
from lit_curriculum.types import ExampleStore, IntArray, said_by

IDENTITY = ("id", "content_hash", "source", "ability")


def identities(store: ExampleStore, indices: IntArray) -> dict[str, list[str | None]]:
    """:data:`IDENTITY` of some examples: name -> [K] values."""
    if isinstance(store, EncodedStore):
        found: dict[str, list[str | None]] = store.columns(IDENTITY, indices).to_pydict()
        return found
    examples = [store[i] for i in indices.tolist()]
    return {name: [getattr(e, name) for e in examples] for name in IDENTITY}


def texts(store: ExampleStore, start: int, stop: int) -> tuple[list[str], list[str]]:
    """Instructions and responses of the examples from ``start`` up to ``stop``."""
    if not isinstance(store, EncodedStore):
        examples = [store[i] for i in range(start, stop)]
        return [e.instruction for e in examples], [e.response for e in examples]
    rows = store.columns(("roles", "contents"), np.arange(start, stop)).to_pydict()
    turns = [list(zip(*row, strict=True)) for row in zip(rows["roles"], rows["contents"], strict=True)]
    return [said_by("user", turn) for turn in turns], [said_by("assistant", turn) for turn in turns]
