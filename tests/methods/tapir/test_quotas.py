"""Task quotas: properties over random pools, and cases by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum.methods.tapir.policy import allocate, draw_rows, largest_remainders


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
    counts = allocate(ratios, total, available, repeat)
    caps = {task: repeat * available.get(task, 0) for task in tasks}
    wanted = [task for task in tasks if ratios[task] > 0]
    assert all(0 <= counts[task] <= caps[task] for task in wanted)
    assert all(counts[task] == 0 for task in tasks if task not in wanted)
    assert sum(counts.values()) == min(total, sum(caps[task] for task in wanted))
    # Tasks that are not at their limit share one multiplier to within a row.
    free = [task for task in wanted if counts[task] < caps[task]]
    for one in free:
        for other in free:
            low, high = (counts[one] - 1) / ratios[one], (counts[other] + 1) / ratios[other]
            assert low <= high + 1e-9


def test_missing_tasks_are_shared_out_by_ratio() -> None:
    counts = allocate({"math": 0.5, "code": 0.25, "art": 0.25}, 90, {"math": 100, "code": 100})
    assert counts == {"math": 60, "code": 30, "art": 0}


def test_the_repeat_limit_caps_a_task() -> None:
    counts = allocate({"math": 0.8, "code": 0.2}, 50, {"math": 5, "code": 100}, max_repeat=4)
    assert counts == {"math": 20, "code": 30}
    assert allocate({"math": 1.0}, 50, {"math": 5}, max_repeat=4) == {"math": 20}


def test_rows_repeat_evenly() -> None:
    rows = np.array([4, 7, 9])
    drawn = draw_rows(rows, 8, np.random.default_rng(0))
    assert sorted(np.unique(drawn, return_counts=True)[1].tolist()) == [2, 3, 3]
    assert len(draw_rows(rows, 0, np.random.default_rng(0))) == 0
    assert len(draw_rows(rows[:0], 0, np.random.default_rng(0))) == 0
