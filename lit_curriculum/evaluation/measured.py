"""What a model did on the items of every ability, ready to become growth records; numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.types import BoolArray, ExampleStore, FloatArray, IntArray

SPLITS = ("valid", "test")
COLUMNS = ("index", "nll_sum", "num_scored", "exact")
"""What is known of an item after a pass over the validation data, in this order."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Of M items, ordered by index."""

    index: IntArray
    nll_sum: FloatArray
    """Nats over the right answer's tokens."""
    num_scored: FloatArray
    right: BoolArray

    @classmethod
    def from_rows(cls, rows: FloatArray, kept: IntArray) -> Measured:
        """Of the items ``kept``, each once: what a sampler repeated to even out the ranks may not count twice.

        Args:
            rows: [4, items] the columns of :data:`COLUMNS`, of all ranks together.
            kept: Indices of the items wanted.
        """
        index, first = np.unique(rows[0].astype(np.int64), return_index=True)
        once = rows[:, first[np.isin(index, kept)]]
        return cls(once[0].astype(np.int64), once[1], once[2], once[3] > 0)


def sample_items(names: Sequence[str], content_hashes: NDArray[np.bytes_], max_items: int | None) -> IntArray:
    """At most ``max_items`` items of each ability, by content hash, whatever the order of the file; in rising order."""
    if max_items is None:
        return np.arange(len(names), dtype=np.int64)
    order = np.argsort(content_hashes, kind="stable")
    abilities = np.asarray(names)[order]
    chosen = [order[abilities == a][:max_items] for a in np.unique(abilities)]
    return np.sort(np.concatenate(chosen))


def split_items(items: IntArray, valid: bool, told: Sequence[str] | None = None) -> Iterator[tuple[str, IntArray]]:
    """Items by turns into ``valid`` and ``test``, or all into ``test``; a split without items is left out.

    Args:
        items: Places of the items of an ability.
        valid: Whether checkpoints are chosen on some of them.
        told: Split of every place where the data say it; then turns do not count.
    """
    if valid and told is not None:
        parts = [(name, items[[told[int(i)] == name for i in items]]) for name in SPLITS]
    else:
        parts = [("valid", items[::2]), ("test", items[1::2])] if valid else [("test", items)]
    for split, part in parts:
        if len(part):
            yield split, part


def declared_splits(store: ExampleStore, index: IntArray) -> list[str] | None:
    """What ``split`` in the ``meta`` of these examples says; none unless both occur and every example has one."""
    told = [str(store[int(i)].meta.get("split")) for i in index]
    return told if set(told) == set(SPLITS) else None
