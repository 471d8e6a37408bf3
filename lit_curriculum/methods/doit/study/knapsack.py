"""The exact allocation over the rungs of a ladder, for curves that are not concave: a multiple-choice knapsack."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lit_curriculum.types import FloatArray, IntArray


def knapsack_allocation(
    scores: Mapping[str, Mapping[int, float]], budget: int, weights: Mapping[str, float] | None = None
) -> dict[str, int]:
    """One measured rung of each ability, so that the weighted sum of scores is largest within the budget.

    By dynamic programming over the budget in units of the rungs' common divisor. Among equals the fewest rows win.

    Args:
        scores: Ability -> its rungs in rows, each with its score; 0 rows may be one of them.
        budget: Rows in all at most.
        weights: Worth of a point of each ability; one where it is not named.

    Raises:
        ValueError: an ability has no rung, or the smallest rungs exceed the budget.
    """
    names = sorted(scores)
    for a in names:
        if not scores[a]:
            raise ValueError(f"ability {a!r} has no measured rung to choose from; measure it first.")
    least = sum(min(scores[a]) for a in names)
    if least > budget:
        raise ValueError(f"the smallest rungs need {least} rows, the budget is {budget}; raise it.")
    unit = math.gcd(*(n for a in names for n in scores[a])) or 1
    room = budget // unit
    best: FloatArray = np.zeros(room + 1)
    choices: list[IntArray] = []
    for a in names:
        worth = 1.0 if weights is None else weights.get(a, 1.0)
        rungs = sorted(scores[a])
        reached: FloatArray = np.full(room + 1, -np.inf)
        taken: IntArray = np.full(room + 1, -1, dtype=np.int64)
        for k, n in enumerate(rungs):
            size = n // unit
            if size > room:
                break
            value = np.full(room + 1, -np.inf)
            value[size:] = best[: room + 1 - size] + worth * scores[a][n]
            better = value > reached
            reached[better], taken[better] = value[better], k
        best = reached
        choices.append(taken)
    return _trace(names, scores, choices, int(np.argmax(best)), unit)


def _trace(
    names: Sequence[str], scores: Mapping[str, Mapping[int, float]], choices: Sequence[IntArray], left: int, unit: int
) -> dict[str, int]:
    """The rungs that lead to a sum, from the last ability back to the first."""
    counts = {}
    for a, taken in zip(reversed(names), reversed(choices), strict=True):
        counts[a] = sorted(scores[a])[int(taken[left])]
        left -= counts[a] // unit
    return dict(sorted(counts.items()))
