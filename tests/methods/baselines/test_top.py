"""Selection by one score: which end, limits, ties, shorter stages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.top import TopMetricPolicy, ranked
from lit_curriculum.types import Plan, make_generator
from tests.conftest import ListStore, make_example

SCORES = [0.5, 2.0, np.nan, 1.0, 0.25, 4.0]


def table(higher_is_harder: bool = True) -> DifficultyTable:
    found = DifficultyTable(6, ["x"], {"x": higher_is_harder})
    found.enter("x", np.arange(6), np.array(SCORES), 0)
    return found


def plan_of(stage: int = 0, **options: Any) -> Plan:
    policy = TopMetricPolicy("x", **({"fraction": None, "count": 3} | options))
    policy.setup(ListStore([make_example(i, f"answer {i}") for i in range(6)]), 2)
    return policy.step(table(), stage, make_generator(0, stage, "policy"))


def chosen(**options: Any) -> list[int]:
    return sorted(plan_of(**options).indices.tolist())


def test_which_end_is_chosen_whatever_is_hard() -> None:
    assert chosen() == [1, 3, 5]
    assert chosen(which="lowest") == [0, 3, 4]
    assert chosen(which="middle") == [0, 1, 3]
    policy = TopMetricPolicy("x", fraction=None, count=1)
    policy.setup(ListStore([make_example(i, f"answer {i}") for i in range(6)]), 1)
    assert policy.step(table(False), 0, make_generator(0, 0, "policy")).indices.tolist() == [5]


def test_limits_and_shorter_stages() -> None:
    assert chosen(below=2.0) == [0, 3, 4]
    assert chosen(below=2.0, count=1) == [3]
    plan = plan_of(below=1.0)
    assert sorted(plan.indices.tolist()) == [0, 4]
    assert plan.scalars == {
        "selected": 2.0, "eligible": 2.0, "unscorable": 1.0, "lowest_selected": 0.25, "highest_selected": 0.5
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"all 6 scores by 'x' are missing or not below .*below=0"):
        plan_of(below=0.0)


def test_the_middle_by_rank_from_its_definition() -> None:
    values = np.random.default_rng(0).standard_normal(31)
    order = ranked(values, np.arange(31), "middle")
    rank = np.argsort(np.argsort(values))
    assert order[0] == np.flatnonzero(values == np.median(values))[0]
    for k in range(1, 31, 2):
        assert sorted(rank[order[:k]]) == list(range(15 - k // 2, 16 + k // 2))


def test_the_order_is_new_each_stage_and_ties_go_by_content() -> None:
    options: dict[str, Any] = {"count": 5}
    assert plan_of(0, **options).indices.tolist() != plan_of(1, **options).indices.tolist()
    assert plan_of(0, **options).indices.tolist() == plan_of(0, **options).indices.tolist()
    ties = np.random.default_rng(1).permutation(6)
    for which in ("highest", "lowest"):
        assert ranked(np.ones(6), ties, which).tolist() == np.argsort(ties).tolist()  # type: ignore[arg-type]
    middle = ranked(np.ones(7), np.arange(7), "middle")
    assert middle[0] == 3
    assert {1, 2, 4, 5} >= set(middle[1:3].tolist()) == {2, 4}


def test_candidates() -> None:
    fresh = DifficultyTable(6, ["x"])
    once = TopMetricPolicy("x")
    assert len(once.candidates(fresh, 0)) == 6
    assert len(once.candidates(table(), 1)) == 0
    with pytest.raises(ValueError, match=r"'x' has not scored 6 of 6 examples when stage 0 is .*metrics.x score from"):
        once.step(fresh, 0, make_generator(0, 0, "policy"))


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"curriculum.policy.which must be one of highest"):
        TopMetricPolicy("x", which="best")  # type: ignore[arg-type]
