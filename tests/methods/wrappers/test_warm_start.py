"""Two policies one after the other: sizes, stages as each counts them, state."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum import OrderedPolicy, UniformPolicy, WarmStartPolicy
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import make_generator
from tests.conftest import ListStore


def _policy() -> WarmStartPolicy:
    return WarmStartPolicy(UniformPolicy(0.5, fresh="once"), OrderedPolicy("nll", "hard_to_easy", fraction=0.1), 2)


def _table() -> DifficultyTable:
    return DifficultyTable(40, ["nll"])


def test_the_second_policy_counts_from_its_own_first_stage(toy_store: ListStore) -> None:
    policy, table = _policy(), _table()
    policy.setup(toy_store, 4)
    assert policy.required_metrics == ("nll",)
    assert [len(policy.candidates(table, s)) for s in (0, 1, 2)] == [0, 0, 40]
    first = [set(policy.step(table, s, make_generator(0, s, "policy")).indices.tolist()) for s in (0, 1)]
    assert first[0] == first[1]
    assert policy.selection_note() == "UniformPolicy"
    table.enter("nll", np.arange(40), np.arange(40.0), 2)
    plan = policy.step(table, 2, make_generator(0, 2, "policy"))
    assert plan.indices.tolist() == [39, 38, 37, 36]
    assert policy.selection_note() == "OrderedPolicy"
    assert list(policy.stage_sizes(40, 4)) == [20, 20, 4, 4]
    assert not policy.finished(1)
    assert not policy.finished(3)


def test_state_goes_to_both(toy_store: ListStore) -> None:
    policy, resumed = _policy(), _policy()
    for each in (policy, resumed):
        each.setup(toy_store, 4)
    policy.step(_table(), 0, make_generator(0, 0, "policy"))
    resumed.load_state_dict(policy.state_dict())
    plans = [p.step(_table(), 1, make_generator(0, 1, "policy")).indices.tolist() for p in (policy, resumed)]
    assert plans[0] == plans[1]


def test_a_run_too_short_is_refused(toy_store: ListStore) -> None:
    with pytest.raises(ValueError, match=r"curriculum.policy.stages must be at least 1, got 0"):
        WarmStartPolicy(UniformPolicy(), UniformPolicy(), 0)
    with pytest.raises(ValueError, match=r"stages=2 of a run of 2 stages leave none .* raise trainer.max_epochs"):
        _policy().setup(toy_store, 2)
