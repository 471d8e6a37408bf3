"""Transfer and transference on records whose truth was planted."""

from __future__ import annotations

import math

import pytest

from lit_curriculum.methods.doit.study.transfer import transfer_matrix, transference
from tests.methods.doit.transfer_studies import PLANTED, measured, study


def test_the_planted_matrix_comes_back_with_intervals_around_it() -> None:
    found = transfer_matrix(study(), num_resamples=200)
    assert (found.sources, found.targets) == (("a", "b"), ("a", "b"))
    for i, a in enumerate("ab"):
        for j, b in enumerate("ab"):
            entry = found.matrix[i][j]
            assert entry.value == pytest.approx(PLANTED[a, b], abs=5e-3)
            assert entry.low <= entry.value <= entry.high
    assert found.matrix[0][1].low > 0  # the gain of b from a is detected
    losses = transfer_matrix(study(), "nll", num_resamples=50)
    assert losses.matrix[0][1].value == pytest.approx(0.8 * 0.05)


def test_transference_is_the_share_of_the_gain_that_others_bring() -> None:
    found = transference(study(), num_resamples=100)
    assert found["a"].value == pytest.approx(0.5)  # (0.5 - 0.2) / (0.8 - 0.2)
    assert found["b"].value == pytest.approx(0.0)
    assert found["a"].low <= 0.5 <= found["a"].high
    flat = [measured(arm, "a", 256, 0.5) for arm in ("base", "without:a", "curated")]
    assert math.isnan(transference(flat, num_resamples=10)["a"].value)


def test_missing_cells_are_named() -> None:
    records = study()
    with pytest.raises(ValueError, match="no cell trained on one ability alone; add the arm alone"):
        transfer_matrix([r for r in records if r.arm == "base"])
    with pytest.raises(ValueError, match="'a' was trained on alone at 1 rungs"):
        transfer_matrix([r for r in records if r.rung == 4])
    with pytest.raises(ValueError, match="untrained model was not measured; add the arm base"):
        transference([r for r in records if r.arm != "base"])
    with pytest.raises(ValueError, match="no ability was left out of training; add the arm without"):
        transference([r for r in records if not r.arm.startswith("without")])
