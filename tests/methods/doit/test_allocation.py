"""Allocation: greedy equals brute force on concave curves, the closed form, floors and caps, envelopes."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import pytest

from lit_curriculum.methods.doit.allocation import allocate
from lit_curriculum.methods.doit.study.allocate import allocate_by_growth, concave_envelope
from lit_curriculum.methods.doit.study.fits import Curve
from lit_curriculum.methods.doit.study.sensitivity import AbilityGrowth, Interval


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


def test_weights_and_chunks() -> None:
    scores = {a: partial(concave, 1.0, 1.0) for a in "ab"}
    none, all_ = dict.fromkeys("ab", 0), dict.fromkeys("ab", 100)
    even = allocate(scores, 60, none, all_, chunk=10)
    assert even == {"a": 30, "b": 30}
    weighted = allocate(scores, 60, none, all_, weights={"a": 9.0, "b": 1.0})
    assert weighted["a"] > 2 * weighted["b"]


def test_bounds_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(ValueError, match="floor of 3 rows and a cap of 2"):
        allocate({"a": float}, 2, {"a": 3}, {"a": 2})
    with pytest.raises(ValueError, match="outside 1 to 2"):
        allocate({"a": float}, 5, {"a": 1}, {"a": 2})


def _reference_envelope(x: list[float], y: list[float], at: float) -> float:
    """The highest chord between any two points above ``at``."""
    best = -math.inf
    for i, j in itertools.combinations_with_replacement(range(len(x)), 2):
        if x[i] <= at <= x[j]:
            share = 0.0 if i == j else (at - x[i]) / (x[j] - x[i])
            best = max(best, y[i] + share * (y[j] - y[i]))
    return best


def test_the_envelope_is_the_highest_chord() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        x, y = sorted(rng.random(6).tolist()), rng.random(6).tolist()
        corners = concave_envelope(x, y)
        for at in rng.uniform(x[0], x[-1], 5):
            assert np.interp(at, *corners) == pytest.approx(_reference_envelope(x, y, float(at)))


def growth(ability: str, scores: list[float], slope: Interval) -> AbilityGrowth:
    return AbilityGrowth(
        ability=ability, arm="curated", size="s", rungs=(1, 100, 1000),
        means=tuple(Interval(value=v, low=v, high=v) for v in scores), chance=0.0, slope=slope, curvature=slope,
        last_gain=slope, growth_class="responsive", curve=Curve(family="log_linear", params=(0, 0), chance=0, aicc=0),
        saturation_rows=None, num_items=10, num_seeds=1, measure="score",
    )  # fmt: skip


def test_rows_go_where_the_fits_promise_them_and_floors_stay() -> None:
    sure, unsure = Interval(value=0.1, low=0.09, high=0.11), Interval(value=0.2, low=-0.1, high=0.5)
    late = growth("late", [0.0, 0.0, 0.9], sure)  # accelerates: greedy on the raw curve would never start
    flat = growth("flat", [0.3, 0.3, 0.3], sure)
    wild = growth("wild", [0.0, 0.5, 1.0], unsure)
    caps = {"late": 1000, "flat": 1000, "wild": 1000}
    counts = allocate_by_growth([late, flat, wild], 1128, caps, chunk=1)
    assert counts["flat"] == 64
    assert sum(counts.values()) == 1128
    careful = allocate_by_growth([late, flat, wild], 1128, caps, chunk=1, attitude="pessimistic")
    assert careful == {"flat": 64, "late": 1000, "wild": 64}
    drawn = [
        allocate_by_growth([late, wild], 600, caps, attitude="exploring", generator=np.random.default_rng(s))["wild"]
        for s in range(6)
    ]
    assert len(set(drawn)) > 1
    with pytest.raises(ValueError, match="not all different"):
        allocate_by_growth([late, late], 100, caps)
    with pytest.raises(ValueError, match="got 'bold'"):
        allocate_by_growth([late], 100, caps, attitude="bold")
