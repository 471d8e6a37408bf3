"""Figures of TAPIR: the histogram of its difficulty, and lines over its rounds."""

from __future__ import annotations

import math

import pytest

from experiments import figures as panels
from lit_curriculum.report import figures


def test_every_judged_instruction_is_in_the_histogram_hard_ones_apart() -> None:
    figure, axes = figures.plt.subplots()
    figures.gap_histogram(axes, [0.0, 0.0, 2.0, 2.5, 9.0, -9.0, math.nan], delta=2.0)
    heights = [sum(bar.get_height() for bar in bars) for bars in axes.containers]  # type: ignore[union-attr]
    assert heights == [4, 2]
    assert axes.get_title() == "6 instructions, 33.3% hard, 1 without a judgement"
    figures.plt.close(figure)


def test_nothing_judged_draws_nothing() -> None:
    figure, axes = figures.plt.subplots()
    figures.gap_histogram(axes, [math.nan], delta=2.0)
    assert not axes.patches
    figures.plt.close(figure)


def test_each_quantity_is_a_line_over_the_rounds() -> None:
    figure, axes = figures.plt.subplots()
    panels.lines_by_round(axes, [1, 2, 3], {"hard": [0.3, 0.5, 0.7], "alpha": [0.3, 0.5, 0.7]}, "share")
    assert [line.get_ydata().tolist() for line in axes.lines] == [pytest.approx([0.3, 0.5, 0.7])] * 2  # type: ignore[union-attr]
    assert axes.get_ylabel() == "share"
    figures.plt.close(figure)
