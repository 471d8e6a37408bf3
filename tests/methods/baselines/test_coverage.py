"""The policy around the rules of diversity: priorities, short lists, budgets, state, file order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lit_curriculum import (
    ClusterDraw,
    CoveragePolicy,
    Diversity,
    FacilityLocation,
    KCenterGreedy,
    MinHashFilter,
    NeighbourFilter,
    NgramCoverage,
    NgramVectors,
)
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import CONDITIONED, Plan, make_generator
from tests.conftest import ListStore

RULES: list[Diversity] = [
    FacilityLocation(), KCenterGreedy(), ClusterDraw(4), ClusterDraw(4, "proportional"), NeighbourFilter(0.99),
    NgramCoverage("both"), MinHashFilter(1.0),
]  # fmt: skip


def scored(store: ListStore, **metrics: list[float]) -> DifficultyTable:
    table = DifficultyTable(len(store), list(metrics))
    for name, values in metrics.items():
        table.enter(name, np.arange(len(store)), np.array(values), 0)
    return table


def run(policy: CoveragePolicy, store: ListStore, table: DifficultyTable, stage: int = 0) -> Plan:
    policy.setup(store, 3)
    return policy.step(table, stage, make_generator(0, stage, "policy"))


@pytest.mark.parametrize("rule", RULES, ids=lambda r: type(r).__name__)
def test_a_choice_does_not_depend_on_file_order(toy_store: ListStore, rule: Diversity) -> None:
    priority = np.random.default_rng(0).uniform(0.1, 1, 40)
    moved = np.random.default_rng(1).permutation(40)
    shuffled = ListStore([toy_store.examples[i] for i in moved])
    for names in (["p"], []):
        policy = CoveragePolicy(rule, names, fraction=0.3)
        here = run(policy, toy_store, scored(toy_store, p=priority.tolist())).indices
        there = run(policy, shuffled, scored(shuffled, p=priority[moved].tolist())).indices
        assert len(set(here.tolist())) == 12
        assert here.tolist() == moved[there].tolist()  # in training order too


@pytest.mark.parametrize("rule", RULES, ids=lambda r: type(r).__name__)
def test_a_budget_of_tokens_is_kept_and_nearly_used(toy_store: ListStore, rule: Diversity) -> None:
    plan = run(CoveragePolicy(rule, fraction=None, tokens=300), toy_store, scored(toy_store))
    lengths = toy_store.lengths(CONDITIONED)
    assert 300 - lengths.max() < lengths[plan.indices].sum() <= 300


def test_priorities_multiply_and_a_short_list_comes_first(toy_store: ListStore) -> None:
    rising = np.arange(1.0, 41.0)
    table = scored(toy_store, a=rising.tolist(), b=rising[::-1].tolist())
    everything = CoveragePolicy(NeighbourFilter(1.0), ["a", "b"], fraction=None, count=4)
    assert sorted(run(everything, toy_store, table).indices.tolist()) == [18, 19, 20, 21]
    listed = CoveragePolicy(FacilityLocation(), ["a"], fraction=0.1, shortlist=0.25)
    assert set(run(listed, toy_store, table).indices.tolist()) <= set(range(30, 40))
    limited = CoveragePolicy(FacilityLocation(), ["a"], fraction=0.5, below=9.0)
    plan = run(limited, toy_store, table)
    assert sorted(plan.indices.tolist()) == list(range(8))
    assert plan.scalars == {"pool": 8.0, "selected": 8.0}


def test_unscorable_examples_are_left_out(toy_store: ListStore) -> None:
    table = scored(toy_store, a=[1.0] * 40)
    table.enter("a", np.array([3, 7]), np.full(2, np.nan), 0)
    plan = run(CoveragePolicy(FacilityLocation(), ["a"], fraction=1.0), toy_store, table)
    assert sorted(plan.indices.tolist()) == [i for i in range(40) if i not in (3, 7)]


def test_a_choice_is_made_once_and_shuffled_each_stage(toy_store: ListStore) -> None:
    once = CoveragePolicy(ClusterDraw(4), ["a"], fraction=0.2)
    fresh = DifficultyTable(40, ["a"])
    assert len(once.candidates(fresh, 0)) == 40
    table = scored(toy_store, a=[1.0] * 40)
    assert len(once.candidates(table, 1)) == 0
    first, second = run(once, toy_store, table), run(once, toy_store, table, 1)
    assert set(first.indices.tolist()) == set(second.indices.tolist())
    assert first.indices.tolist() != second.indices.tolist()


def test_state_continues_a_choice(toy_store: ListStore) -> None:
    policy, resumed = (CoveragePolicy(ClusterDraw(4), fraction=0.2) for _ in range(2))
    table = scored(toy_store)
    run(policy, toy_store, table)
    resumed.setup(toy_store, 3)
    resumed.load_state_dict(policy.state_dict())
    plans = [p.step(table, 1, make_generator(0, 1, "policy")).indices.tolist() for p in (policy, resumed)]
    assert plans[0] == plans[1]
    smaller = CoveragePolicy(ClusterDraw(4), fraction=0.2)
    smaller.setup(ListStore(toy_store.examples[:30]), 3)
    with pytest.raises(ValueError, match="selection is of 40 examples, the data have 30 examples; resume with"):
        smaller.load_state_dict(policy.state_dict())


def test_options_out_of_range_are_refused(toy_store: ListStore) -> None:
    rule = FacilityLocation(NgramVectors())

    def make(**options: Any) -> CoveragePolicy:
        return CoveragePolicy(rule, **options)

    with pytest.raises(ValueError, match=r"curriculum.policy.shortlist must be in \(0, 1\], got 2"):
        make(priority=["a"], shortlist=2.0)
    with pytest.raises(ValueError, match=r"shortlist=0.5 needs a score; name one in curriculum.policy.priority"):
        make(shortlist=0.5)
    table = scored(toy_store, a=[-1.0] * 40, b=[1.0] * 40)
    with pytest.raises(ValueError, match=r"multiplies a and b, but one of these is negative for example toy-0 \(toy"):
        run(make(priority=["a", "b"]), toy_store, table)
    with pytest.raises(ValueError, match=r"all 40 priorities by \['a'\] are missing or not below .*below=-2"):
        run(make(priority=["a"], below=-2.0), toy_store, table)
