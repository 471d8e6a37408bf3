"""The exact allocation over rungs equals trying every combination."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lit_curriculum.methods.doit.study.knapsack import knapsack_allocation


def _reference_best(scores: dict[str, dict[int, float]], budget: int, weights: dict[str, float]) -> float:
    names = sorted(scores)
    sums = [
        sum(weights[a] * scores[a][n] for a, n in zip(names, rungs, strict=True))
        for rungs in itertools.product(*(scores[a] for a in names))
        if sum(rungs) <= budget
    ]
    return max(sums)


def test_it_is_as_good_as_the_best_of_all_combinations() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        rungs = (0, 1, 4, 16, 64, 100)
        scores = {a: {n: float(rng.random()) for n in rungs[: rng.integers(2, 7)]} for a in "abcd"}
        weights = {a: float(rng.random()) for a in scores}
        budget = int(rng.integers(4, 300))
        counts = knapsack_allocation(scores, budget, weights)
        assert sum(counts.values()) <= budget
        reached = sum(weights[a] * scores[a][n] for a, n in counts.items())
        assert reached == pytest.approx(_reference_best(scores, budget, weights))


def test_a_curve_that_pays_late_gets_its_rung_where_greedy_would_stop() -> None:
    late, early = {0: 0.0, 16: 0.0, 64: 0.9}, {0: 0.0, 16: 0.2, 64: 0.3}
    assert knapsack_allocation({"late": late, "early": early}, 80) == {"early": 16, "late": 64}
    assert knapsack_allocation({"late": late, "early": early}, 32) == {"early": 16, "late": 0}
    assert knapsack_allocation({"a": {0: 0.5, 4: 0.5}}, 8) == {"a": 0}  # of equals the fewest rows


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="'b' has no measured rung"):
        knapsack_allocation({"a": {1: 0.0}, "b": {}}, 4)
    with pytest.raises(ValueError, match="the smallest rungs need 5 rows, the budget is 4"):
        knapsack_allocation({"a": {4: 0.0}, "b": {1: 0.0}}, 4)
