"""What the demo says of TAPIR's rounds."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.demo.tapir import RoundTrace, true_level
from lit_curriculum import TapirPolicy
from tests.conftest import make_example


def trace() -> RoundTrace:
    found = RoundTrace(TapirPolicy(count=10, warmup_stages=2, epochs_per_round=2, targets={"sort": 3.0, "add": 1.0}))
    found.stages = [{"round": 0, "stage": 0}, {"round": 0, "stage": 1}]
    found.stages += [{"round": 1 + s // 2, "stage": 2 + s, "tasks": {"sort": 6 + s, "add": 2}} for s in range(4)]
    return found


def test_a_round_is_shown_by_its_last_stage() -> None:
    assert [(s["round"], s["stage"]) for s in trace().rounds] == [(1, 3), (2, 5)]


def test_the_farthest_task_is_in_rows() -> None:
    found = trace()
    assert found.farthest(found.stages[2]) == pytest.approx(0.0)
    assert found.farthest(found.stages[5]) == pytest.approx(0.75), "9 and 2 of 11 rows, where 8.25 and 2.75 are due"


def test_accuracy_is_that_of_the_validation_nearest_to_the_end_of_the_round() -> None:
    history: list[dict[str, Any]] = [
        {"epoch": e, "step": e, "results": {"sort": {"accuracy": e / 10}}} for e in (0, 1, 3, 5, 6)
    ]
    assert trace().after(history) == {"S_0": {"sort": 0.1}, "round 1": {"sort": 0.3}, "round 2": {"sort": 0.5}}


def test_the_level_of_a_written_row_is_read_from_its_text() -> None:
    assert true_level(make_example(0, "cba", "reverse abc")) == 2
