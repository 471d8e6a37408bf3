"""Policies in a row: order and weights of what was chosen, by hand; what a link must not do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lit_curriculum import (
    ChainedPolicy,
    CurriculumPolicy,
    LossWeightingPolicy,
    OrderedPolicy,
    PatternPolicy,
    SourceMixturePolicy,
    TopMetricPolicy,
    UniformPolicy,
)
from lit_curriculum.curriculum.base import entry_reasons
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.loss_weighting import relative_weights
from lit_curriculum.types import Plan, make_generator
from tests.conftest import ListStore, make_example

QUALITY = [9.0, 1.0, 8.0, 7.0, 2.0, 6.0, 5.0, 0.0]
LENGTH = [4.0, 9.0, 1.0, 3.0, 9.0, 2.0, 5.0, 9.0]
LOSS = [1.0, 0.0, 2.0, np.nan, 9.0, 3.0, 2.0, 9.0]


def _store() -> ListStore:
    return ListStore([make_example(i, f"answer {i}", ability="ab"[i % 2]) for i in range(8)])


def _table(loss: list[float] = LOSS) -> DifficultyTable:
    table = DifficultyTable(8, ["quality", "length", "loss"])
    for name, values in (("quality", QUALITY), ("length", LENGTH), ("loss", loss)):
        column = np.array(values)
        known = np.flatnonzero(np.isfinite(column))
        table.enter(name, known, column[known], 0)
    return table


def _step(policy: CurriculumPolicy, table: DifficultyTable, stage: int = 1) -> Plan:
    policy.setup(_store(), 3)
    return policy.step(table, stage, make_generator(0, stage, "policy"))


def _best(count: int = 5) -> TopMetricPolicy:
    return TopMetricPolicy("quality", which="highest", fraction=None, count=count)


def test_what_was_chosen_is_weighted_and_then_ordered() -> None:
    zigzag = PatternPolicy("length", "zigzag", layers=2)
    plan = _step(ChainedPolicy(_best(), [LossWeightingPolicy("loss", "linupper"), zigzag]), _table())
    # Of the best five (0 2 3 5 6) the order by length is 2 5 3 0 6: layers 2 3 6 and 5 0, the second one backwards.
    assert plan.indices.tolist() == [2, 3, 6, 0, 5]
    # Losses 1, 2, 3, 2 of 0, 2, 5, 6; none is known of 3, which weighs 1.
    known = relative_weights(np.array([1.0, 2.0, 3.0, 2.0]), "linupper", 1.0)
    assert plan.weights is not None
    assert plan.weights.tolist() == pytest.approx([known[1], 1.0, known[3], known[0], known[2]])
    assert plan.weights.dtype == np.float32
    assert {"selected", "LossWeightingPolicy/mean_weight", "PatternPolicy/selected"} <= set(plan.scalars)


def test_weights_are_multiplied_and_a_first_link_may_repeat_examples() -> None:
    class Thrice(UniformPolicy):
        def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
            return Plan(indices=np.array([6, 2, 6]), weights=np.array([2.0, 3.0, 4.0], np.float32))

    plan = _step(ChainedPolicy(Thrice(), [OrderedPolicy("length"), LossWeightingPolicy("loss", "uniform")]), _table())
    assert sorted(plan.indices.tolist()) == [2, 6, 6]
    assert plan.weights is not None
    # Loss 2 of both, so the second link's weights are 1.
    weights = sorted(zip(plan.indices.tolist(), plan.weights.tolist(), strict=True))
    assert weights == [(2, 3.0), (6, 2.0), (6, 4.0)]


def test_a_part_that_was_never_trained_on_is_at_its_beginning_and_missing_losses_are_named() -> None:
    unknown = [np.nan, 0.0, np.nan, np.nan, 9.0, np.nan, np.nan, 9.0]
    chain = ChainedPolicy(_best(), [LossWeightingPolicy("loss", "super_loss")])
    plan = _step(chain, _table(unknown))
    assert plan.weights is not None
    assert plan.weights.tolist() == [1.0] * 5
    with pytest.raises(ValueError, match=r"set curriculum.training_loss_metric to loss"):
        _step(chain, _table([np.nan] * 8))


def test_all_links_ask_for_scores_and_the_first_has_the_rest() -> None:
    chain = ChainedPolicy(_best(), [OrderedPolicy("length"), OrderedPolicy("loss", rescore="each_stage")])
    chain.setup(_store(), 3)
    assert chain.required_metrics == ("quality", "length", "loss")
    assert chain.candidates(DifficultyTable(8, chain.required_metrics), 0).tolist() == list(range(8))
    assert chain.candidates(_table(), 1).tolist() == list(range(8)), "the last link scores again"
    assert list(chain.stage_sizes(8, 3)) == [5, 5, 5]
    plan = chain.step(_table([1.0, 0.0, 2.0, 4.0, 9.0, 3.0, 5.0, 9.0]), 1, make_generator(0, 1, "policy"))
    assert plan.indices.tolist() == [0, 2, 5, 3, 6]
    assert all(": place " in r and r.startswith(chain.selection_note()) for r in entry_reasons(chain, _table(), plan))
    assert chain.selection_note().endswith(", then OrderedPolicy, OrderedPolicy")


def test_the_choice_does_not_depend_on_file_order() -> None:
    links: list[Any] = [LossWeightingPolicy("loss", "uniform"), PatternPolicy("length", "saw", jitter=2)]
    moved = np.array([3, 1, 7, 0, 2, 6, 5, 4])
    store = _store()
    found = []
    for which in (np.arange(8), moved):
        chain = ChainedPolicy(_best(), links)
        chain.setup(ListStore([store[int(i)] for i in which]), 3)
        plan = chain.step(_table().part(which), 1, make_generator(0, 1, "policy"))
        assert plan.weights is not None
        found.append((which[plan.indices].tolist(), plan.weights.tolist()))
    assert found[0] == found[1]


def test_what_a_link_must_not_do_is_refused() -> None:
    with pytest.raises(ValueError, match=r"curriculum.policy.then of ChainedPolicy is empty"):
        ChainedPolicy(_best(), [])
    with pytest.raises(ValueError, match=r"then\[0\] UniformPolicy keeps a state"):
        ChainedPolicy(_best(), [UniformPolicy(1.0, fresh="once")]).setup(_store(), 3)
    with pytest.raises(ValueError, match=r"OrderedPolicy in .*then has .* the 5 examples .*"):
        _step(ChainedPolicy(_best(), [OrderedPolicy("length", fraction=None, count=3)]), _table())
    with pytest.raises(ValueError, match=r"SourceMixturePolicy in .* takes \d of them in 5 entries"):
        _step(ChainedPolicy(_best(), [SourceMixturePolicy(shares={"a": 0.9, "b": 0.1})]), _table())
