"""Orders with a stated rule for ties, and the front of an order that fits the size of a stage."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.curriculum.base import OWNER, resolve_count
from lit_curriculum.types import CONDITIONED, ExampleStore, FloatArray, IntArray
from lit_curriculum.utils.options import check_exactly_one, check_range


def content_ranks(content_hashes: NDArray[np.bytes_]) -> IntArray:
    """Rank examples [N] by content hash; exact duplicates by index."""
    ranks = np.empty(len(content_hashes), dtype=np.int64)
    ranks[np.argsort(content_hashes, kind="stable")] = np.arange(len(content_hashes))
    return ranks


def highest_first(values: FloatArray, tie_rank: IntArray) -> IntArray:
    """Sort positions of ``values`` [n] from highest to lowest, NaN last; ties by ascending ``tie_rank`` [n]."""
    return np.lexsort((tie_rank, -values)).astype(np.int64)


class StageSize:
    """Size of a stage, given by one of three budgets.

    Tokens are those of the conditioned view, prompt included, as they are trained on. The front of an order is the
    longest one that does not exceed them; the learning-rate horizon plans with examples of mean length.

    Args:
        fraction: Share of the data, in (0, 1].
        count: Number of examples.
        tokens: Number of tokens.

    Raises:
        ValueError: none or several are given, or (in ``setup``) the value does not fit the data.
    """

    def __init__(self, fraction: float | None, count: int | None, tokens: int | None) -> None:
        check_exactly_one(OWNER, fraction=fraction, count=count, tokens=tokens)
        check_range(OWNER, "(0, 1]", fraction=fraction)
        check_range(OWNER, "[1, inf)", count=count, tokens=tokens)
        self.fraction, self.count, self.tokens = fraction, count, tokens
        self._lengths: IntArray = np.empty(0, dtype=np.int64)

    def setup(self, examples: ExampleStore) -> None:
        """Check the budget against the data."""
        self._lengths = examples.lengths(CONDITIONED) if self.tokens is not None else np.empty(0, dtype=np.int64)
        if self.tokens is not None and self.tokens < self._lengths.max():
            longest = examples[int(self._lengths.argmax())]
            raise ValueError(
                f"{OWNER}.tokens={self.tokens} is less than the {self._lengths.max()} tokens of example {longest.id} "
                f"({longest.source}), so a stage might be empty; raise it, or lower data.max_length."
            )
        self.planned(len(examples))

    def planned(self, num_examples: int) -> int:
        """Number of examples of a stage before any choice; a token budget is divided by the mean length."""
        if self.tokens is None:
            return resolve_count(num_examples, fraction=self.fraction, count=self.count)
        assert len(self._lengths), "setup comes before a budget of tokens is planned with"
        return min(num_examples, max(1, round(self.tokens / float(self._lengths.mean()))))

    def most(self, candidates: IntArray, num_examples: int) -> int:
        """Largest number of ``candidates`` [K] that fit in any order."""
        if self.tokens is None:
            return min(len(candidates), self.planned(num_examples))
        shortest_first = np.sort(self._lengths[candidates])
        return int(np.searchsorted(shortest_first.cumsum(), self.tokens, side="right"))

    def cut(self, order: IntArray, num_examples: int) -> IntArray:
        """Cut ``order`` ([K] indices, without repeats) to the budget."""
        if self.tokens is None:
            return order[: self.planned(num_examples)]
        return order[: int(np.searchsorted(self._lengths[order].cumsum(), self.tokens, side="right"))]
