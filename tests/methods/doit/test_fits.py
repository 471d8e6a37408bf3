"""Curves and classes: planted slopes come back, and little data say "undetermined"."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lit_curriculum.methods.doit.study.fits import (
    Curve,
    fit_log_linear,
    fit_logistic,
    fit_loss,
    fit_power,
    fit_score,
    saturation,
)
from lit_curriculum.methods.doit.study.sensitivity import (
    Interval,
    analyse,
    classify,
    line_and_bend,
    report_rows,
    resampled_means,
)
from lit_curriculum.methods.doit.study.transfer import complexity_proxy, rank_correlation, transference_proxy
from tests.methods.doit.planted_curves import N, planted

X = np.arange(6.0)


def _reference_slope(x: np.ndarray, y: np.ndarray) -> float:
    return sum((a - x.mean()) * (b - y.mean()) for a, b in zip(x, y, strict=True)) / sum((a - x.mean()) ** 2 for a in x)


def test_a_planted_log_linear_slope_comes_back() -> None:
    total = np.full(6, 10_000.0)
    curve = fit_log_linear(N, (0.25 + 0.75 * (0.1 + 0.12 * X)) * total, total, 0.25)
    assert curve.params == pytest.approx((0.1, 0.12), abs=1e-6)
    assert curve(64) == pytest.approx(0.25 + 0.75 * 0.46)
    assert curve.gain(16) == pytest.approx(0.75 * 0.12)


def test_a_planted_power_law_and_logistic_come_back() -> None:
    total = np.full(6, 1e6)
    power = fit_power(N, (0.9 - 0.8 * (N + 2) ** -0.5) * total, total, 0.0)
    assert [power(n) for n in N] == pytest.approx((0.9 - 0.8 * (N + 2) ** -0.5).tolist(), abs=2e-3)
    logistic = fit_logistic(N, (0.1 + 0.8 / (1 + np.exp(-2 * (X - 2.5)))) * total, total, 0.1)
    assert logistic.params == pytest.approx((0.9, 2.0, 2.5), abs=1e-3)


def test_the_simple_curve_is_kept_unless_another_is_much_better() -> None:
    total = np.full(6, 200.0)
    assert fit_score(N, np.round((0.2 + 0.1 * X) * total), total, 0.0).family == "log_linear"
    steep = np.round((0.05 + 0.9 / (1 + np.exp(-4 * (X - 2.5)))) * total)
    assert fit_score(N, steep, total, 0.05).family == "logistic"
    assert fit_score(N[:4], steep[:4], total[:4], 0.05).family == "log_linear"


def test_a_rectified_loss_comes_back() -> None:
    loss = 3.0 / (2.0 + N**0.6) + 0.5
    curve = fit_loss(N, loss)
    assert [curve(n) for n in N] == pytest.approx(loss.tolist(), abs=1e-3)


def test_saturation() -> None:
    first = Curve(family="log_linear", params=(0.1, 0.1), chance=0.0, aicc=0.0)
    second = Curve(family="log_linear", params=(0.3, 0.02), chance=0.0, aicc=0.0)
    assert saturation(second, 0.05, N) == pytest.approx(1.0)
    assert saturation(first, 0.05, N) is None
    rising = Curve(family="logistic", params=(0.9, 4.0, 2.5), chance=0.0, aicc=0.0)
    end = saturation(rising, 0.05, N)
    assert end is not None
    assert 4**2.5 < end < 4**4
    assert rising.gain(1.0) < 0.05


def test_two_points_on_a_hundred_items_are_undetermined_and_twelve_are_responsive() -> None:
    (weak,) = analyse(planted(0.02, 100), num_resamples=400)
    (strong,) = analyse(planted(0.12, 100), num_resamples=400)
    assert weak.slope.value == pytest.approx(0.02, abs=1e-6)
    assert weak.growth_class == "undetermined"
    assert strong.growth_class == "responsive"
    assert report_rows([strong])[0]["name"] == "a (curated, tiny): responsive, slope"
    assert strong.to_json()["curve"]["family"] == "log_linear"


def test_losses_have_slopes_too_and_no_chance() -> None:
    (found,) = analyse(planted(0.1, 50, seeds=2), num_resamples=200, measure="nll")
    assert found.slope.value == pytest.approx(0.1)
    assert found.to_json()["chance"] is None
    assert found.num_seeds == 2


def test_classes_by_rule() -> None:
    def around(value: float, half: float) -> Interval:
        return Interval(value=value, low=value - half, high=value + half)

    flat, steep, none = around(0.0, 0.01), around(0.1, 0.02), around(0.0, 0.0)
    assert classify(flat, flat, flat, 0.02) == "resistant"
    assert classify(none, none, none, 0.02) == "undetermined"  # every item alike
    assert classify(around(0.0, 0.05), flat, flat, 0.02) == "undetermined"
    assert classify(steep, around(0.05, 0.01), steep, 0.02) == "accelerating"
    assert classify(steep, around(-0.05, 0.01), flat, 0.02) == "saturated"
    assert classify(steep, around(-0.05, 0.01), steep, 0.02) == "responsive"


def test_resamples_pair_items_across_rungs_and_slopes_are_least_squares() -> None:
    table = [np.tile(np.random.default_rng(0).random(30), (6, 1)) for _ in range(3)]
    means = resampled_means(table, np.random.default_rng(1), 20)
    assert np.ptp(means, axis=1).max() < 1e-12  # items that never change make no slope
    values = np.random.default_rng(2).random((4, 6))
    line, bend = line_and_bend(X, values)
    assert line == pytest.approx([_reference_slope(X, row) for row in values])
    assert line_and_bend(X, (0.5 * X**2)[None])[1] == pytest.approx([1.0])
    assert bend.shape == (4,)


def test_missing_rungs_and_items_are_refused() -> None:
    records = planted(0.1, 20, seeds=2)
    with pytest.raises(ValueError, match="seed 1 lacks rung 1024"):
        analyse(records[:-1], num_resamples=10)
    with pytest.raises(ValueError, match="was measured at 2 rungs"):
        analyse(records[:2], num_resamples=10)
    with pytest.raises(ValueError, match="not measured on the same items"):
        analyse([*planted(0.1, 20)[:-1], planted(0.1, 10)[-1]], num_resamples=10)


def test_proxies_are_what_they_say() -> None:
    assert complexity_proxy(1.5) == 1.5
    assert transference_proxy(0.5, 0.2, 0.8) == pytest.approx(0.5)
    assert math.isnan(transference_proxy(0.5, 0.2, 0.2))
    found = rank_correlation([1, 2, 3, 4, 5], [2, 3, 5, 8, 13], num_resamples=50)
    assert (found.value, found.high) == (pytest.approx(1.0), pytest.approx(1.0))
    with pytest.raises(ValueError, match="at least 4 abilities"):
        rank_correlation([1, 2], [1, 2])
    with pytest.raises(ValueError, match="before tuning is nan"):
        complexity_proxy(math.nan)
