"""Sharing out a budget by marginal gain; numbers in, numbers out."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping

from lit_curriculum.curriculum.quotas import water_fill

Score = Callable[[float], float]
"""Predicted score of an ability from its number of rows."""


def check_bounds(floors: Mapping[str, int], caps: Mapping[str, int], budget: int) -> None:
    """Refuse bounds that no allocation can meet.

    Raises:
        ValueError: a floor lies above its cap, or the budget outside the sums of floors and of caps.
    """
    for a, floor in floors.items():
        if floor > caps[a]:
            raise ValueError(f"ability {a!r} has a floor of {floor} rows and a cap of {caps[a]}; lower the floor.")
    low, high = sum(floors.values()), sum(caps.values())
    if not low <= budget <= high:
        raise ValueError(f"a budget of {budget} rows is outside {low} to {high}, the sums of floors and of caps.")


def allocate(
    scores: Mapping[str, Score],
    budget: int,
    floors: Mapping[str, int],
    caps: Mapping[str, int],
    weights: Mapping[str, float] | None = None,
    chunk: int = 1,
) -> dict[str, int]:
    """Give rows, chunk by chunk, to the ability whose weighted score gains most from one more row.

    Optimal for concave scores and a chunk of one. Where nothing gains any more, what is left is shared equally
    under the caps. Ties go to the first name in the alphabet.

    Args:
        scores: Predicted score of each ability as a function of its rows.
        budget: Rows in all.
        floors: Rows at least of each ability.
        caps: Rows at most of each ability.
        weights: Worth w_a of a point of each ability; one by default.
        chunk: Rows given at a time.

    Raises:
        ValueError: no allocation meets floors, caps and budget.
    """
    check_bounds(floors, caps, budget)
    counts = {a: floors[a] for a in sorted(scores)}
    left = budget - sum(counts.values())

    def entry(a: str) -> tuple[float, str, int] | None:
        step = min(chunk, caps[a] - counts[a], left)
        if step < 1:
            return None
        gain = (scores[a](counts[a] + step) - scores[a](counts[a])) * (1.0 if weights is None else weights[a])
        return (-gain / step, a, step) if gain > 0 else None

    heap = [e for a in counts if (e := entry(a)) is not None]
    heapq.heapify(heap)
    while heap and left:
        _, a, step = heapq.heappop(heap)
        if step <= left:
            counts[a] += step
            left -= step
        if (following := entry(a)) is not None:
            heapq.heappush(heap, following)
    if left:
        extra = water_fill({a: caps[a] - n for a, n in counts.items()}, left)
        counts = {a: n + extra[a] for a, n in counts.items()}
    return counts
