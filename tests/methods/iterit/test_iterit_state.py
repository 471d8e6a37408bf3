"""IterIT: edges of the data, scalars, state, growth."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from lit_curriculum.curriculum.ordering import content_ranks, highest_first
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.iterit.policy import IterITPolicy
from lit_curriculum.types import make_generator
from tests.selection_toys import FAITHFUL, TOY_C_IFD, make_store, order_of, random_run, started, step


def test_unscorable_examples_are_kept_and_never_chosen() -> None:
    texts = [f"left{i} right{i}" for i in range(6)]
    ifd = [0.5, float("nan"), 0.75, 1.5, float("nan"), 0.25]
    policy, table = started(texts, ifd, fraction=None, count=2, **FAITHFUL)
    plan = policy.step(table, 0, make_generator(0, 0, "policy"))
    assert plan.indices.tolist() == [2, 0]
    assert order_of(policy) == [2, 0, 3, 5, 1, 4]
    assert plan.scalars == {
        "candidates": 6,
        "eligible": 3,
        "at_or_above_one": 1,
        "unscorable": 2,
        "picks_by_greedy": 2,
        "filled": 0,
        "selected": 2,
        "overlap": 0.0,
        "newly_hard": 1.0,
    }
    assert policy.candidates(table, 1).tolist() == [2, 0, 3, 5]


def test_exhausted_novelty_is_filled_by_complexity_without_duplicates() -> None:
    policy, table = started(
        ["red blue green"] * 4, [0.5, 0.625, 0.75, 0.875], fraction=None, count=3, novelty_decay=0.0, **FAITHFUL
    )
    plan = policy.step(table, 0, make_generator(0, 0, "policy"))
    assert plan.indices.tolist() == [3, 2, 1]
    assert (plan.scalars["picks_by_greedy"], plan.scalars["filled"]) == (1, 2)


def test_texts_without_words_are_chosen_by_complexity() -> None:
    policy, table = started(["a", "", "!"], [0.5, 0.75, 0.25], fraction=None, count=2, **FAITHFUL)
    assert step(policy, table, 0) == [1, 0]


def test_fewer_eligible_than_wanted_make_a_shorter_stage() -> None:
    texts = [f"left{i} right{i}" for i in range(4)]
    policy, table = started(texts, [1.5, 0.5, 2.0, 0.75], fraction=None, count=3, **FAITHFUL)
    plan = policy.step(table, 0, make_generator(0, 0, "policy"))
    assert plan.indices.tolist() == [3, 1]
    assert plan.scalars["selected"] == 2
    assert policy.stage_sizes(4, 2) == [3, 3]


def test_none_eligible_is_refused() -> None:
    policy, table = started(["red", "blue"], [1.5, float("nan")], fraction=None, count=1)
    with pytest.raises(ValueError, match=r"no example is eligible at stage 0: of 2 candidates 1 have 'ifd' at"):
        step(policy, table, 0)


def test_negative_complexity_cannot_be_multiplied() -> None:
    policy, table = started(["red", "blue"], [-0.5, 0.5], fraction=None, count=1)
    with pytest.raises(ValueError, match=r"score=both multiplies by complexity"):
        step(policy, table, 0)
    policy, table = started(["red", "blue"], [-0.5, 0.5], fraction=None, count=1, score="complexity")
    assert step(policy, table, 0) == [1]


def test_step_before_scoring_is_a_bug_of_the_loop() -> None:
    policy = IterITPolicy(fraction=None, count=1)
    policy.setup(make_store(["red", "blue"]), 1)
    with pytest.raises(AssertionError, match="before candidates were scored"):
        step(policy, DifficultyTable(2, ["ifd"]), 0)


def test_turnover_counts_the_last_and_all_earlier_stages() -> None:
    texts = [f"left{i} right{i}" for i in range(4)]
    policy, table = started(texts, [0.9, 0.8, 0.2, 0.1], fraction=None, count=2, refresh_factor=None)
    overlaps = []
    for stage, ifd in enumerate([[0.9, 0.8, 0.2, 0.1], [0.9, 0.1, 0.8, 0.2], [0.1, 0.9, 0.8, 0.2]]):
        table.enter("ifd", np.arange(4), np.array(ifd), stage)
        scalars = policy.step(table, stage, make_generator(0, stage, "policy")).scalars
        overlaps.append((scalars["overlap"], scalars["newly_hard"]))
    assert overlaps == [(0.0, 1.0), (0.5, 0.5), (0.5, 0.0)]


@pytest.mark.parametrize("shuffle", ["stage", "fixed"])
def test_state_round_trips_through_a_safe_checkpoint(shuffle: str) -> None:
    policy, table = random_run(shuffle=shuffle)
    step(policy, table, 0)
    file = io.BytesIO()
    torch.save(policy.state_dict(), file)
    file.seek(0)
    resumed, _ = random_run(shuffle=shuffle)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for one in (policy, resumed):
        assert one.state_dict()["stage"] == 0
        table.enter("ifd", one.candidates(table, 1), np.linspace(0.4, 0.9, 24), 1)
    plans = [p.step(table, 1, make_generator(0, 1, "policy")) for p in (policy, resumed)]
    assert plans[0].indices.tolist() == plans[1].indices.tolist()
    assert plans[0].scalars == plans[1].scalars


def test_foreign_state_is_refused() -> None:
    policy, table = random_run()
    step(policy, table, 0)
    smaller, _ = random_run(num=30)
    with pytest.raises(ValueError, match="the checkpoint's order is of 40 examples, the data have 30"):
        smaller.load_state_dict(policy.state_dict())
    with pytest.raises(ValueError, match="policy state of version 99 cannot be read"):
        policy.load_state_dict(policy.state_dict() | {"version": 99})


def test_grown_data_join_the_short_list() -> None:
    texts = [f"left{i} right{i}" for i in range(8)]
    policy, table = started(texts, TOY_C_IFD, fraction=None, count=2, refresh_factor=2.0, **FAITHFUL)
    step(policy, table, 0)
    policy.setup(make_store([*texts, "fresh words"]), 3)
    table.grow(9)
    assert policy.candidates(table, 1).tolist() == [1, 4, 8, 2]
    table.enter("ifd", policy.candidates(table, 1), np.array([0.5, 0.25, 0.75, 0.6]), 1)
    assert step(policy, table, 1) == [8, 2]


def test_reads_names_the_metric() -> None:
    assert IterITPolicy(complexity="nll").required_metrics == ("nll",)


def test_orders_break_ties_by_rank_and_put_nan_last() -> None:
    values = np.array([0.5, np.nan, 0.75, 0.5])
    assert highest_first(values, np.array([3, 2, 1, 0])).tolist() == [2, 3, 0, 1]
    assert content_ranks(np.array([b"c", b"a", b"c", b"b"])).tolist() == [2, 0, 3, 1]
