"""Allocation: greedy equals brute force on concave curves, under floors and caps."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest

from lit_curriculum.methods.doit.growth_pace import allocate


def concave(amplitude: float, alpha: float, n: float) -> float:
    return -amplitude * (n + 1) ** -alpha


def _reference_best(scores, budget, floors, caps) -> float:  # type: ignore[no-untyped-def]
    """The highest sum over all allocations, one by one."""
    names = sorted(scores)
    ranges = [range(floors[a], caps[a] + 1) for a in names]
    return max(
        sum(scores[a](n) for a, n in zip(names, counts, strict=True))
        for counts in itertools.product(*ranges)
        if sum(counts) == budget
    )


def test_greedy_is_optimal_on_small_concave_cases() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        scores = {a: partial(concave, float(rng.random()), float(rng.uniform(0.2, 2))) for a in "abc"}
        floors = {a: int(rng.integers(0, 3)) for a in "abc"}
        caps = {a: floors[a] + int(rng.integers(0, 8)) for a in "abc"}
        budget = int(rng.integers(sum(floors.values()), sum(caps.values()) + 1))
        counts = allocate(scores, budget, floors, caps)
        assert sum(counts.values()) == budget
        assert all(floors[a] <= counts[a] <= caps[a] for a in "abc")
        found = sum(scores[a](counts[a]) for a in "abc")
        assert found == pytest.approx(_reference_best(scores, budget, floors, caps))


def test_where_nothing_gains_the_rest_is_shared_equally() -> None:
    counts = allocate({a: lambda n: 0.0 for a in "abc"}, 10, dict.fromkeys("abc", 1), {"a": 2, "b": 9, "c": 9})
    assert counts == {"a": 2, "b": 4, "c": 4}


def test_bounds_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(ValueError, match="floor of 3 rows and a cap of 2"):
        allocate({"a": float}, 2, {"a": 3}, {"a": 2})
    with pytest.raises(ValueError, match="outside 1 to 2"):
        allocate({"a": float}, 5, {"a": 1}, {"a": 2})
