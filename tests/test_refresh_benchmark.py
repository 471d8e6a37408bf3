"""The benchmark of budgeted refreshes compares with the scores of the same weights."""

from __future__ import annotations

import warnings

import pytest

from experiments.benchmarks.refresh import CHOICES, UNITS, run_cell


@pytest.mark.slow
def test_where_all_is_scored_nothing_differs() -> None:
    warnings.filterwarnings("ignore", module="lightning")
    found = run_cell(next(iter(CHOICES)), seed=0, examples=60, stages=5)
    assert set(found) == set(UNITS)
    for phase in ("first", "second", "last"):
        measured = {name: value for name, value in found.items() if f"{phase} third" in name}
        assert len(measured) == 5
        skipped, *_, agreement = measured.values()
        # A model early in training moves too fast for anything to be skipped.
        assert skipped == 0.0
        assert agreement == pytest.approx(1.0), "the scores in the table are those of the weights they are checked by"
        assert measured[f"wrong choices, found, {phase} third of the stages"] == 0.0
