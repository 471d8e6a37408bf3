"""Joint laws over size and volume: parameters that were planted come back, and too few cells are refused."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum.methods.doit.study.joint_law import JointLaw, fit_joint_law, joint_intervals

# The additive law with the constants that Hoffmann et al. print, over sizes and volumes of their range.
CHINCHILLA = JointLaw(params=(1.69, 406.4, 0.34, 410.7, 0.28))


def grid(law: JointLaw, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sizes, volumes = ([7e7, 3e8, 1e9, 4e9, 1.6e10], [1e9, 5e9, 2e10, 1e11, 4e11])
    size, rows = (m.ravel() for m in np.meshgrid(sizes, volumes))
    exact = np.array([law(n, d) for n, d in zip(size, rows, strict=True)])
    return size, rows, exact * np.exp(np.random.default_rng(seed).normal(0, noise, len(exact)))


def test_planted_parameters_come_back() -> None:
    assert fit_joint_law(*grid(CHINCHILLA, 0.0)).params == pytest.approx(CHINCHILLA.params, rel=0.02)


def test_under_noise_predictions_hold_and_intervals_cover_the_exponents() -> None:
    size, rows, loss = grid(CHINCHILLA, 0.003)
    found = fit_joint_law(size, rows, loss)
    assert found(3.2e10, 8e11) == pytest.approx(CHINCHILLA(3.2e10, 8e11), rel=0.01)  # twice beyond both ends
    intervals = joint_intervals(found, size, rows, loss, num_resamples=60)
    truth = CHINCHILLA.named
    for name in ("floor", "size_exponent", "data_exponent"):
        assert intervals[name].low < truth[name] < intervals[name].high, name
        assert intervals[name].value == found.named[name]
    assert intervals["size_exponent"].high - intervals["size_exponent"].low < 0.2


def test_an_outlier_counts_for_little() -> None:
    size, rows, loss = grid(CHINCHILLA, 0.0)
    loss[7] *= 1.5
    assert fit_joint_law(size, rows, loss).params == pytest.approx(CHINCHILLA.params, rel=0.05)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (slice(0, 4), "the joint law has 5 parameters, but there are 4 cells"),
        (slice(0, 5), r"needs at least 2 rungs, but all cells have 1e\+09"),
        (slice(0, None, 5), r"needs at least 2 model sizes, but all cells have 7e\+07"),
    ],
)
def test_too_few_cells_are_refused(chosen: slice, message: str) -> None:
    size, rows, loss = grid(CHINCHILLA, 0.0)
    with pytest.raises(ValueError, match=message):
        fit_joint_law(size[chosen], rows[chosen], loss[chosen])
