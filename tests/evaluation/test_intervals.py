"""Intervals against values worked out by hand and against their coverage."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum.evaluation.summary import mean_interval, score_interval, wilson_interval


@pytest.mark.parametrize(("correct", "total"), [(0, 10), (5, 10), (10, 10), (37, 100)])
def test_wilson_by_its_formula(correct: int, total: int) -> None:
    z, p = 1.959963984540054, correct / total
    middle = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    assert wilson_interval(correct, total) == pytest.approx((middle - half, middle + half), abs=1e-9)


def test_bootstrap_is_near_the_normal_interval_and_repeats() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    low, high = mean_interval(values)
    assert (low, high) == mean_interval(values)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert low < values.mean() < high


def test_which_interval_is_taken() -> None:
    assert score_interval(np.array([1.0, 0.0, 1.0])) == wilson_interval(2, 3)
    values = np.array([0.2, 0.5, 1.0])
    assert score_interval(values) == mean_interval(values)
    assert score_interval(np.array([0.4])) == (0.4, 0.4)
