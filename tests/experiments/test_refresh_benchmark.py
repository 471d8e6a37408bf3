"""The benchmark of budgeted refreshes compares with the scores of the same weights."""

from __future__ import annotations

import warnings

import pytest

from experiments.benchmarks.refresh import CHOICES, UNITS, run_cell


@pytest.mark.slow
def test_where_all_is_scored_nothing_differs() -> None:
    warnings.filterwarnings("ignore", module="lightning")
    found = run_cell(next(iter(CHOICES)), seed=0, examples=60, stages=5)
    missing = set(UNITS) - set(found)
    assert missing
    assert all("measured" in name for name in missing), "left out where no example was to be skipped, and so none drawn"
    for phase in (f"{part} third of the stages" for part in ("first", "second", "last")):
        # A model early in training moves too fast for anything to be skipped.
        assert found[f"candidates not scored, {phase}"] == 0.0
        assert found[f"wrong choices, stated at most, {phase}"] == found[f"wrong choices, found, {phase}"] == 0.0
        agreement = found[f"rank correlation with a full refresh, {phase}"]
        assert agreement == pytest.approx(1.0), "the scores in the table are those of the weights they are checked by"
