"""Who is decided by bounds, and how bounds are learnt."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum.methods.wrappers.drift import Bounds, Drift, DriftModel


def _reference_top(values: np.ndarray, size: int) -> set[int]:
    return set(sorted(range(len(values)), key=lambda i: -values[i])[:size])


def test_who_is_decided_stays_so_for_any_values_within_the_bounds() -> None:
    generator = np.random.default_rng(0)
    num_decided = 0
    for _ in range(300):
        size = int(generator.integers(2, 12))
        middle, width = generator.normal(size=size), generator.exponential(0.3, size) * generator.integers(0, 2, size)
        found = Bounds(middle, middle - width, middle + width)
        count = int(generator.integers(1, size + 1))
        play = found.in_play(count)
        num_decided += int((~play).sum())
        tops = [_reference_top(generator.uniform(found.low, found.high), count) for _ in range(40)]
        for i in np.flatnonzero(~play):
            assert len({int(i) in top for top in tops}) == 1
        # With expected values in place of the decided ones the highest are the same.
        truth = generator.uniform(found.low, found.high)
        assert _reference_top(np.where(play, truth, middle), count) == _reference_top(truth, count)
    assert num_decided > 500


def test_the_spread_is_learnt_from_enough_changes_only() -> None:
    assert Drift.learn(np.zeros(19)) is None
    changes = np.random.default_rng(0).normal(-0.3, 0.1, 5000)
    drift = Drift.learn(changes)
    assert drift is not None
    assert drift.shift == pytest.approx(-0.3, abs=0.01)
    assert drift.limit(0.95) == pytest.approx(0.196, abs=0.01)
    assert Drift.unknown().limit(0.5) == np.inf
    found = DriftModel(drift, drift).bounds(
        np.array([1.0, 1.0, np.nan, 1.0]), np.array([0, 2, 3, 1]), np.array([0, 0, 0, 2]), 0.95
    )
    assert (found.low[0], found.high[0]) == (1.0, 1.0)
    assert found.high[1] - found.low[1] == pytest.approx(4 * drift.limit(0.95))
    assert (found.low[2], found.high[2]) == (-np.inf, np.inf)
    assert found.expected[3] == pytest.approx(1.0 + 3 * drift.shift)
    assert found.high[3] - found.low[3] == pytest.approx(6 * drift.limit(0.95))


def test_stages_and_trainings_are_told_apart() -> None:
    generator = np.random.default_rng(1)
    ages, trainings = generator.integers(1, 4, 4000), generator.integers(0, 3, 4000)
    trainings[generator.random(4000) < 0.5] = 0
    changes = -0.02 * ages - 0.05 * trainings + ages * generator.uniform(-0.01, 0.01, 4000)
    model = DriftModel.unknown().learn(changes, ages, trainings)
    assert (model.stage.shift, model.training.shift) == pytest.approx((-0.02, -0.05), abs=0.001)
    assert 0.005 < model.stage.limit(1.0) <= 0.0105
    assert model.learn(changes[:3], ages[:3], trainings[:3]) == model
