"""Pacing: the values of the method's tables, and bands that partition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lit_curriculum import CompetencePolicy
from lit_curriculum.curriculum.pacing import cut_bands, root_competence
from lit_curriculum.methods.campus.schedules import scopes

GOLDEN = {
    5: [0.01, 0.6325, 0.7746, 0.8944, 1.0],
    10: [0.01, 0.4473, 0.5478, 0.6325, 0.7071, 0.7746, 0.8367, 0.8944, 0.9487, 1.0],
    20: [0.01, 0.3164, 0.3874, 0.4473, 0.5001],
    100: [0.01, 0.1418, 0.1735, 0.2002, 0.2238],
}


def _reference_scope(t: int, last: int, s1: float, p: float, shifted: bool) -> float:
    if shifted:
        u = (t - 1) / (last - 1)
        return math.pow(u * (1 - s1**p) + s1**p, 1 / p)
    if t == 1:
        return s1
    return min(1.0, math.pow(t * (1 - s1**p) / last + s1**p, 1 / p))


@pytest.mark.parametrize("num_bands", GOLDEN)
def test_the_literal_form_has_the_values_of_the_table(num_bands: int) -> None:
    found = scopes(num_bands)
    known = GOLDEN[num_bands]
    np.testing.assert_allclose(found[: len(known)], known, atol=6e-5)
    assert found[-1] == 1.0


def test_the_shifted_form_has_the_values_of_the_table() -> None:
    found = scopes(10, index="shifted")
    np.testing.assert_allclose(found[:6], [0.01, 0.3335, 0.4715, 0.5774, 0.6667, 0.7454], atol=6e-5)
    assert found[-1] == 1.0


@pytest.mark.parametrize("index", ["literal", "shifted"])
@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_scopes_equal_the_slow_twin_and_their_bands_shrink(index: str, power: float) -> None:
    for num_bands in (2, 5, 17, 100):
        found = scopes(num_bands, 0.01, power, index)  # type: ignore[arg-type]
        expected = [_reference_scope(t, num_bands, 0.01, power, index == "shifted") for t in range(1, num_bands + 1)]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert (np.diff(found) > 0).all()
        widths = np.diff(found)[1:]  # from t = 3 on
        assert (np.diff(widths) <= 1e-12).all()


def test_linear_scope_is_linear_and_one_band_is_everything() -> None:
    np.testing.assert_allclose(root_competence(np.array([0.0, 0.5, 1.0, 2.0]), 0.2, 1.0), [0.2, 0.6, 1.0, 1.0])
    assert scopes(1).tolist() == [1.0]
    assert scopes(1, index="shifted").tolist() == [1.0]


def test_bands_partition_the_data_exactly() -> None:
    for size in (1, 7, 99, 100, 1001):
        for num_bands in (1, 2, 10, 60):
            bands = cut_bands(size, scopes(num_bands))
            assert [i for lo, hi in bands for i in range(lo, hi)] == list(range(size))
            assert all(hi > lo for lo, hi in bands)
    assert cut_bands(100, np.array([0.07, 0.29, 1.0])) == [(0, 7), (7, 29), (29, 100)]


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"curriculum.policy.initial_scope must be in \(0, 1\]"):
        CompetencePolicy("length", initial_scope=0.0)
    with pytest.raises(ValueError, match=r"curriculum.policy.power must be above 0"):
        CompetencePolicy("length", power=0.0)
