"""Orders with a stated rule for ties, so that a choice does not depend on file order, batch size or ranks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.types import FloatArray, IntArray


def content_ranks(content_hashes: NDArray[np.bytes_]) -> IntArray:
    """[N] rank of every example by its content hash; exact duplicates by their index."""
    ranks = np.empty(len(content_hashes), dtype=np.int64)
    ranks[np.argsort(content_hashes, kind="stable")] = np.arange(len(content_hashes))
    return ranks


def highest_first(values: FloatArray, tie_rank: IntArray) -> IntArray:
    """Positions of ``values`` [n] from highest to lowest, NaN last; equal values by rising ``tie_rank`` [n]."""
    return np.lexsort((tie_rank, -values)).astype(np.int64)


def reference_order(
    order: IntArray, num_scored: int, chosen: IntArray, complexity: FloatArray, limit: float, tie_rank: IntArray
) -> IntArray:
    """IterIT's order after a choice: chosen, too hard, rest of the eligible by complexity, unscorable, untouched.

    Since only the first ``num_scored`` places ever change, the same examples are on every later short list.

    Args:
        order: [N] the order so far; its first ``num_scored`` examples are the ones just scored.
        num_scored: Length of the short list that the choice was made from.
        chosen: The examples chosen, in order of choice.
        complexity: [N] complexity; NaN where there is none.
        limit: Complexities from here on are too hard to be eligible; these keep their previous order.
        tie_rank: [N] ranks that break ties.
    """
    others = order[:num_scored][~np.isin(order[:num_scored], chosen)]
    values = complexity[others]
    rest = others[values < limit]
    rest = rest[highest_first(complexity[rest], tie_rank[rest])]
    parts = (chosen, others[values >= limit], rest, others[np.isnan(values)], order[num_scored:])
    return np.concatenate(parts)


def refreshed_order(
    order: IntArray,
    chosen: IntArray,
    complexity: FloatArray,
    limit: float,
    tie_rank: IntArray,
    new: NDArray[np.bool_],
) -> IntArray:
    """An order over all data: chosen, never scored, eligible by latest complexity, too hard, unscorable.

    Args:
        order: [N] the order so far.
        chosen: The examples chosen, in order of choice.
        complexity: [N] latest complexity, however old; NaN where there is none.
        limit: Complexities from here on are too hard to be eligible.
        tie_rank: [N] ranks that break ties.
        new: [N] true where an example has not been scored yet.
    """
    others = order[~np.isin(order, chosen)]
    others = others[highest_first(complexity[others], tie_rank[others])]
    values = complexity[others]
    group = np.select([new[others], values < limit, values >= limit], [0, 1, 2], 3)
    return np.concatenate([chosen, others[np.argsort(group, kind="stable")]])
