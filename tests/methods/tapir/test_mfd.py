"""Model Fitting Difficulty: sign, threshold, histogram."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum.methods.tapir.difficulty import ModelFittingDifficulty, gap_histogram, is_hard, threshold

GAPS = np.array([0.0, 2.0, 2.5, -1.0, np.nan, 4.0, 2.0, 9.0])


def test_the_sign_stands_in_the_formula() -> None:
    ours, literal = ModelFittingDifficulty(), ModelFittingDifficulty(sign="literal")
    teacher, student = np.array([9.0, 5.0, np.nan]), np.array([4.0, 6.5, 3.0])
    assert ours.gap(teacher, student)[:2].tolist() == [5.0, -1.5]
    assert literal.gap(teacher, student)[:2].tolist() == [-5.0, 1.5]
    assert np.isnan(ours.gap(teacher, student)[2])
    assert ours.formula == "mfd-teacher-minus-student/1" != literal.formula
    with pytest.raises(ValueError, match=r"ModelFittingDifficulty.sign"):
        ModelFittingDifficulty(sign="other")  # type: ignore[arg-type]


def test_hard_is_strictly_above_and_never_unjudged() -> None:
    assert np.flatnonzero(is_hard(GAPS, 2.0)).tolist() == [2, 5, 7]


def test_a_higher_threshold_never_makes_more_hard() -> None:
    rng = np.random.default_rng(0)
    gaps = np.where(rng.random(500) < 0.1, np.nan, np.round(rng.normal(1, 3, 500) * 2) / 2)
    before = is_hard(gaps, -20.0)
    for delta in np.arange(-10, 10, 0.25):
        hard = is_hard(gaps, float(delta))
        assert not (hard & ~before).any()
        before = hard


@pytest.mark.parametrize("keep", [0.05, 0.15, 0.25, 0.5, 0.9])
def test_a_target_share_is_met_from_below_and_as_close_as_ties_allow(keep: float) -> None:
    rng = np.random.default_rng(1)
    gaps = np.round(rng.normal(1, 3, 400) * 2) / 2
    delta = threshold(gaps, delta=None, target_keep=keep)
    assert is_hard(gaps, delta).mean() <= keep
    lower = gaps[gaps < delta].max() if (gaps < delta).any() else delta - 0.5
    assert is_hard(gaps, float(lower)).mean() > keep or lower == delta - 0.5


def test_a_quantile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no instruction has been judged"):
        threshold(np.array([np.nan]), delta=None, target_keep=0.2)
    assert threshold(np.array([np.nan]), delta=1.5, target_keep=None) == 1.5


def test_the_histogram_counts_everything() -> None:
    lines = gap_histogram(GAPS, 2.0, "mfd/1").splitlines()
    assert lines[0] == "MFD (mfd/1) of 7 instructions, 1 without one; 42.9% above 2"
    assert sum(int(line.split()[-1]) for line in lines[1:]) == 7
    assert gap_histogram(np.array([np.nan]), 2.0, "mfd/1") == "MFD: no instruction has been judged."
