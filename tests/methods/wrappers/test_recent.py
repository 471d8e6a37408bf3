"""A score that is not too old is taken for a new one."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.wrappers.recent import ReuseRecent
from lit_curriculum.types import make_generator
from tests.methods.wrappers.refresh_toys import ordered, store_of


def test_recent_scores_are_taken_for_new() -> None:
    policy = ReuseRecent(ordered(), "ifd", max_age=2)
    policy.setup(store_of(10), 9)
    table = DifficultyTable(10, ["ifd"])
    assert len(policy.candidates(table, 0)) == 10
    table.update("ifd", np.arange(9), np.linspace(0.1, 0.9, 9), 0)
    table.update("ifd", np.array([2, 3]), np.array([0.95, 0.97]), 3)
    assert policy.candidates(table, 2).tolist() == [9]
    assert policy.candidates(table, 5).tolist() == [0, 1, 4, 5, 6, 7, 8, 9]
    table.update("ifd", np.arange(4, 10), np.full(6, 0.5), 5)
    plan = policy.step(table, 5, make_generator(0, 5, "policy"))
    assert plan.indices.tolist() == [3]
    assert plan.scalars["scores_reused"] == 2
    assert policy.explain(table, plan) == ["OrderedPolicy: place 1 of 1; ifd 0.97, hardest 1 of 10"]
    assert policy.total_examples(10, 3) == 3
    assert policy.required_metrics == ("ifd",)
    again = ReuseRecent(ordered(), "ifd", max_age=2, reuse="trained")
    again.setup(store_of(10), 9)
    again.load_state_dict(policy.state_dict())
    table.update("ifd", np.arange(10), np.full(10, 0.4), 5)
    assert again.candidates(table, 7).tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    again.setup(store_of(12), 9)
    with pytest.raises(ValueError, match="the checkpoint's policy is of 10 examples, the data have 12"):
        again.load_state_dict(policy.state_dict())


def test_wrong_ages_and_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match=r"curriculum.policy.max_age must be at least 1 stage, got 0"):
        ReuseRecent(ordered(), "ifd", max_age=0)
    with pytest.raises(ValueError, match=r"curriculum.policy.reuse"):
        ReuseRecent(ordered(), "ifd", reuse="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"curriculum.policy.metric='x' is not read by OrderedPolicy"):
        ReuseRecent(ordered(), "x")
