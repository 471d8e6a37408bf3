"""A policy inside each ability: shares, scores compared within, order, state, growth, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lit_curriculum import BudgetedRefresh, IterITPolicy, OrderedPolicy, UniformPolicy, WithinAbilitiesPolicy
from lit_curriculum.curriculum.base import stage_reasons
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import Plan, make_generator
from tests.conftest import ListStore


def _mixture(toy_store: ListStore, counts: dict[str | None, int]) -> ListStore:
    labels = [label for label, count in counts.items() for _ in range(count)]
    kept = [dataclasses.replace(toy_store[i], ability=label) for i, label in enumerate(labels)]
    return ListStore(kept)


def _hardest(table: DifficultyTable, store: ListStore, stage: int = 0) -> tuple[WithinAbilitiesPolicy, Plan]:
    policy = WithinAbilitiesPolicy(OrderedPolicy("nll", "hard_to_easy", fraction=0.5))
    policy.setup(store, 2)
    table.enter("nll", policy.candidates(table, stage), np.arange(float(table.num_examples)), stage)
    return policy, policy.step(table, stage, make_generator(0, stage, "policy"))


def test_every_ability_gives_its_own_hardest_in_its_own_order(toy_store: ListStore) -> None:
    store = _mixture(toy_store, {"easy": 20, "hard": 12, None: 8})
    policy, plan = _hardest(DifficultyTable(40, ["nll"]), store)
    assert [i for i in plan.indices.tolist() if i < 20] == list(range(19, 9, -1))
    assert [i for i in plan.indices.tolist() if 20 <= i < 32] == list(range(31, 25, -1))
    assert [i for i in plan.indices.tolist() if i >= 32] == [39, 38, 37, 36]
    assert list(policy.stage_sizes(40, 2)) == [20, 20]
    halves = [np.isin(plan.indices[part], np.arange(20)).sum() for part in (slice(0, 10), slice(10, 20))]
    assert all(4 <= count <= 6 for count in halves)  # spread over the stage, not in blocks


def test_reasons_of_chosen_and_excluded_examples(toy_store: ListStore) -> None:
    table = DifficultyTable(40, ["nll"])
    policy, plan = _hardest(table, _mixture(toy_store, {"a": 20, "b": 20}))
    words = stage_reasons(policy, table, plan)
    assert words.texts[words.codes[19]] == "chosen by WithinAbilitiesPolicy"
    assert words.texts[words.codes[0]] == "others were preferred"


def _ifd() -> DifficultyTable:
    table = DifficultyTable(40, ["ifd"])
    scores = np.concatenate([np.linspace(0.1, 0.3, 20), np.linspace(0.5, 0.9, 19), [1.5]])  # the last is too hard
    table.enter("ifd", np.arange(40), scores, 0)
    return table


def test_iterit_leaves_no_ability_out_that_it_would_leave_out_alone(toy_store: ListStore) -> None:
    store, table = _mixture(toy_store, {"low": 20, "high": 20}), _ifd()
    alone, within = IterITPolicy(fraction=0.25), WithinAbilitiesPolicy(IterITPolicy(fraction=0.25))
    low = {}
    for policy in (alone, within):
        policy.setup(store, 3)
        plan = policy.step(table, 0, make_generator(0, 0, "policy"))
        assert len(plan) == 10
        low[policy] = np.count_nonzero(plan.indices < 20)
    assert low[alone] < 5
    assert low[within] == 5
    assert plan.scalars["selected/low"] == plan.scalars["selected/high"] == 5
    assert np.flatnonzero(within.exclusion_reasons(table)["ifd at or above max_complexity 1"]).tolist() == [39]


def test_a_resumed_one_goes_on_with_the_short_list_of_each_ability(toy_store: ListStore) -> None:
    store, table = _mixture(toy_store, {"low": 20, "high": 20}), _ifd()
    policy, resumed = (WithinAbilitiesPolicy(IterITPolicy(fraction=0.25)) for _ in range(2))
    for each in (policy, resumed):
        each.setup(store, 3)
    policy.step(table, 0, make_generator(0, 0, "policy"))
    resumed.load_state_dict(policy.state_dict())
    plans = []
    for each in (policy, resumed):
        assert len(each.candidates(table, 1)) == 30  # m * K of each ability
        plans.append(each.step(table, 1, make_generator(0, 1, "policy")).indices.tolist())
    assert plans[0] == plans[1]


def test_weights_of_the_inside_come_through_and_one_weighs_where_there_are_none(toy_store: ListStore) -> None:
    class Weighted(UniformPolicy):
        def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
            plan = super().step(table, stage, generator)
            weights = None if len(plan) > 10 else np.full(len(plan), 0.25, np.float32)
            return Plan(indices=plan.indices, weights=weights)

    policy = WithinAbilitiesPolicy(Weighted())
    policy.setup(_mixture(toy_store, {"a": 30, "b": 10}), 1)
    plan = policy.step(DifficultyTable(40, []), 0, make_generator(0, 0, "policy"))
    assert plan.weights is not None
    assert sorted(plan.indices.tolist()) == list(range(40))
    assert (plan.weights == np.where(plan.indices < 30, 1.0, 0.25)).all()


def test_data_that_grow_keep_what_each_ability_had(toy_store: ListStore) -> None:
    table, store = DifficultyTable(30, ["nll"]), _mixture(toy_store, {"a": 20, "b": 10})
    policy, _ = _hardest(table, store)
    grown = ListStore([*store.examples, *(dataclasses.replace(toy_store[i], ability="b") for i in range(30, 40))])
    table.grow(40)
    policy.setup(grown, 2)
    assert set(policy.candidates(table, 1).tolist()) >= set(range(30, 40))
    assert list(policy.stage_sizes(40, 2)) == [20, 20]


def test_one_ability_a_small_one_and_other_abilities_are_refused(toy_store: ListStore) -> None:
    with pytest.raises(ValueError, match=r"all 40 examples are of x; give the rows a field 'ability'"):
        WithinAbilitiesPolicy(UniformPolicy()).setup(_mixture(toy_store, {"x": 40}), 1)
    with pytest.raises(ValueError, match=r"ability 'b', 4 examples: .*fraction=0.1 of 4 examples is less than one"):
        WithinAbilitiesPolicy(UniformPolicy(0.1)).setup(_mixture(toy_store, {"a": 36, "b": 4}), 1)
    picky = WithinAbilitiesPolicy(IterITPolicy(fraction=0.25, max_complexity=0.4))
    picky.setup(_mixture(toy_store, {"a": 20, "b": 20}), 1)
    with pytest.raises(ValueError, match=r"ability 'b', 20 examples: no example is eligible at stage 0: of 20 cand"):
        picky.step(_ifd(), 0, make_generator(0, 0, "policy"))
    policy = WithinAbilitiesPolicy(UniformPolicy())
    policy.setup(_mixture(toy_store, {"a": 20, "b": 20}), 1)
    with pytest.raises(ValueError, match="choice is of a, c, the data have a, b"):
        policy.load_state_dict({"a": {}, "c": {}})


def test_it_goes_inside_a_wrapper(toy_store: ListStore) -> None:
    inside = WithinAbilitiesPolicy(OrderedPolicy("nll", "easy_to_hard", fraction=0.5))
    policy = BudgetedRefresh(inside, "nll", pick="easiest")
    policy.setup(_mixture(toy_store, {"a": 20, "b": 20}), 3)
    table = DifficultyTable(40, ["nll"])
    assert len(policy.candidates(table, 0)) == 40
    table.enter("nll", np.arange(40), np.arange(40.0), 0)
    plan = policy.step(table, 0, make_generator(0, 0, "policy"))
    assert sorted(plan.indices.tolist()) == [*range(10), *range(20, 30)]
