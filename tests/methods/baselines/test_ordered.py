"""Ordered curricula: directions, ties, unscorable examples, re-scoring."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.ordered import OrderedPolicy
from lit_curriculum.types import Plan, make_generator
from tests.conftest import ListStore, make_example

SCORES = [0.5, 2.0, np.nan, 1.0, 0.25]


def _store(num: int = 5) -> ListStore:
    return ListStore([make_example(i, f"answer {i}") for i in range(num)])


def _table(higher_is_harder: bool = True) -> DifficultyTable:
    table = DifficultyTable(5, ["nll"], {"nll": higher_is_harder})
    table.enter("nll", np.arange(5), np.array(SCORES), 0)
    return table


def _plan(table: DifficultyTable, **options: Any) -> Plan:
    policy = OrderedPolicy("nll", **options)
    policy.setup(_store(), 2)
    return policy.step(table, 0, make_generator(0, 0, "policy"))


def test_both_directions_put_the_unscorable_last() -> None:
    plan = _plan(_table())
    assert plan.indices.tolist() == [4, 0, 3, 1, 2]
    assert plan.scalars == {"selected": 5, "unscorable": 1, "unscorable_selected": 1}
    assert _plan(_table(), direction="hard_to_easy").indices.tolist() == [1, 3, 0, 4, 2]


def test_the_metric_says_what_is_hard() -> None:
    table = _table(higher_is_harder=False)
    assert _plan(table).indices.tolist() == [1, 3, 0, 4, 2]
    np.testing.assert_array_equal(table.hardness("nll"), [-0.5, -2.0, np.nan, -1.0, -0.25])
    np.testing.assert_array_equal(_table().hardness("nll"), SCORES)
    assert DifficultyTable(1, ["a", "b"], {"b": False}).higher_is_harder == {"a": True, "b": False}


def test_a_part_is_taken_from_the_front() -> None:
    plan = _plan(_table(), direction="hard_to_easy", fraction=0.4)
    assert plan.indices.tolist() == [1, 3]
    assert plan.scalars["unscorable_selected"] == 0
    assert _plan(_table(), fraction=None, count=3).indices.tolist() == [4, 0, 3]


def test_ties_go_by_content_in_both_directions() -> None:
    store = _store(6)
    by_hash = np.argsort(store.content_hashes).tolist()
    table = DifficultyTable(6, ["nll"])
    table.enter("nll", np.arange(6), np.ones(6), 0)
    for direction in ("easy_to_hard", "hard_to_easy"):
        policy = OrderedPolicy("nll", direction)  # type: ignore[arg-type]
        policy.setup(store, 1)
        assert policy.step(table, 0, make_generator(0, 0, "policy")).indices.tolist() == by_hash


def test_candidates() -> None:
    once, again = OrderedPolicy("nll"), OrderedPolicy("nll", rescore="each_stage")
    fresh = DifficultyTable(5, ["nll"])
    for policy in (once, again):
        assert policy.required_metrics == ("nll",)
        assert policy.candidates(fresh, 0).tolist() == [0, 1, 2, 3, 4]
    assert len(once.candidates(_table(), 1)) == 0
    assert again.candidates(_table(), 1).tolist() == [0, 1, 3, 4]


def test_step_before_scoring_is_a_bug_of_the_loop() -> None:
    with pytest.raises(AssertionError, match="before candidates were scored"):
        _plan(DifficultyTable(5, ["nll"]))


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"curriculum.policy.direction must be one of easy_to_hard"):
        OrderedPolicy("nll", direction="up")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"curriculum.policy.rescore must be one of never, each_stage"):
        OrderedPolicy("nll", rescore="always")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"curriculum.policy.fraction must be in \(0, 1\], got 1.5"):
        OrderedPolicy("nll", fraction=1.5)


def test_a_stateless_policy_refuses_state() -> None:
    policy = OrderedPolicy("nll")
    assert policy.state_dict() == {}
    with pytest.raises(ValueError, match=r"OrderedPolicy keeps no state"):
        policy.load_state_dict({"x": 1})
