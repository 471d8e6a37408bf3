"""Task quotas: properties over random pools, and cases by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum.methods.tapir.quotas import allocate, draw_rows, largest_remainders


def test_largest_remainders_by_hand() -> None:
    assert largest_remainders(np.array([0.5, 0.3, 0.2]), 10).tolist() == [5, 3, 2]
    assert largest_remainders(np.array([1.0, 1.0, 1.0]), 7).tolist() == [3, 2, 2]
    assert largest_remainders(np.array([0.45, 0.35, 0.2]), 7).tolist() == [3, 3, 1]


@pytest.mark.parametrize("seed", range(60))
def test_counts_are_within_one_of_their_quotas(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tasks = [f"t{i}" for i in range(int(rng.integers(1, 34)))]
    ratios = dict(zip(tasks, (rng.random(len(tasks)) * (rng.random(len(tasks)) > 0.1)).tolist(), strict=True))
    ratios[tasks[0]] += 0.1
    available = {t: int(rng.integers(0, 60)) for t in tasks if rng.random() > 0.2}
    total, repeat = int(rng.integers(0, 2000)), int(rng.integers(1, 6))
    found = allocate(ratios, total, available, repeat)
    assert sum(found.counts.values()) + found.shortfall == total
    for task in tasks:
        assert abs(found.counts[task] - found.quotas[task]) < 1.0 + 1e-9
        assert 0 <= found.counts[task] <= repeat * available.get(task, 0)
        assert ratios[task] > 0 or found.counts[task] == 0
    # Something is missing only where everything that may be drawn is.
    if found.shortfall:
        assert all(found.counts[t] == repeat * available.get(t, 0) for t in tasks if ratios[t] > 0)


def test_missing_tasks_are_shared_out_by_ratio() -> None:
    found = allocate({"math": 0.5, "code": 0.25, "art": 0.25}, 90, {"math": 100, "code": 100})
    assert found.counts == {"math": 60, "code": 30, "art": 0}
    assert found.shortfall == 0
    dropped = allocate({"math": 0.5, "code": 0.25, "art": 0.25}, 100, {"math": 100, "code": 100}, missing="drop")
    assert dropped.counts == {"math": 50, "code": 25, "art": 0}
    assert dropped.shortfall == 25


def test_the_repeat_limit_caps_a_task() -> None:
    found = allocate({"math": 0.8, "code": 0.2}, 50, {"math": 5, "code": 100}, max_repeat=4)
    assert found.counts == {"math": 20, "code": 30}
    short = allocate({"math": 1.0}, 50, {"math": 5}, max_repeat=4)
    assert (short.counts, short.shortfall) == ({"math": 20}, 30)


def test_rows_repeat_evenly() -> None:
    rows = np.array([4, 7, 9])
    drawn = draw_rows(rows, 8, np.random.default_rng(0))
    assert sorted(np.unique(drawn, return_counts=True)[1].tolist()) == [2, 3, 3]
    assert len(draw_rows(rows, 0, np.random.default_rng(0))) == 0
    assert len(draw_rows(rows[:0], 0, np.random.default_rng(0))) == 0
