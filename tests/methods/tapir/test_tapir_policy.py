"""TAPIR's mixture: shares, quotas, partition, and independence of file order."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lit_curriculum import TapirPolicy
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import Example, Plan, make_generator
from tests.conftest import ListStore, make_example

TARGETS = {"math": 0.5, "code": 0.3, "art": 0.2}


def make_data(num_raw: int = 120, num_new: int = 30, seed: int = 0) -> tuple[ListStore, DifficultyTable]:
    """Raw rows with gaps (a tenth unjudged), and rows written from them; one of them replaces row 3."""
    rng = np.random.default_rng(seed)
    tasks = list(TARGETS)
    rows: list[Example] = [
        make_example(i, f"answer {i}", f"question {i}", ability=tasks[i % 3]) for i in range(num_raw)
    ]
    for i in range(num_new):
        meta = {"origin": "expanded", "round": 1, "parent": "toy-0", "task": tasks[i % 3]}
        if i == 0:
            meta |= {"origin": "raw", "replaces": 3}
        rows.append(replace(make_example(num_raw + i, f"new answer {i}", f"new question {i}"), meta=meta))
    table = DifficultyTable(len(rows), ["mfd"])
    gaps = np.round(rng.normal(1.0, 2.5, num_raw) * 2) / 2
    gaps[3] = 5.0
    gaps[7::10] = np.nan
    table.enter("mfd", np.arange(num_raw), gaps, 0)
    return ListStore(rows), table


def make_policy(store: ListStore, **options: Any) -> TapirPolicy:
    settings: dict[str, Any] = {"count": 100, "targets": TARGETS, **options}
    policy = TapirPolicy(**settings)
    policy.setup(store, 6)
    return policy


def plan_of(policy: TapirPolicy, table: DifficultyTable, stage: int) -> Plan:
    return policy.step(table, stage, make_generator(0, stage, "policy"))


def test_hard_and_easy_part_the_rows_in_use() -> None:
    store, table = make_data()
    pools = make_policy(store).pools(table)
    hard, easy = set(pools.hard.tolist()), set(pools.easy.tolist())
    assert not hard & easy
    assert hard | easy == set(range(len(store))) - {3}
    assert set(range(120, 150)) <= hard
    assert all(table.scores["mfd"][i] > 2.0 for i in hard if i < 120)
    assert set(range(7, 120, 10)) <= easy, "what could not be judged is easy"


def test_raising_delta_never_adds_a_hard_row() -> None:
    store, table = make_data()
    pools = [set(make_policy(store, delta=d).pools(table).hard.tolist()) for d in (-2.0, 0.0, 1.0, 2.0, 3.5)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(pools))


@pytest.mark.parametrize("stage", range(6))
def test_the_hard_share_of_a_round_is_alpha(stage: int) -> None:
    store, table = make_data()
    policy = make_policy(store, epochs_per_round=2)
    plan, alpha = plan_of(policy, table, stage), [0.3, 0.3, 0.5, 0.5, 0.7, 0.7][stage]
    hard = set(policy.pools(table).hard.tolist())
    assert policy.alpha(policy.round_of(stage)) == pytest.approx(alpha)
    assert sum(int(i) in hard for i in plan.indices) == round(alpha * 100)
    assert len(plan) == 100 == policy.stage_sizes(120, 6)[stage]
    assert plan.scalars["hard_share"] == pytest.approx(alpha)


def test_task_counts_are_within_one_of_their_quotas() -> None:
    store, table = make_data()
    policy = make_policy(store, alpha_start=0.7)
    plan = plan_of(policy, table, 0)
    hard = set(policy.pools(table).hard.tolist())
    counts = Counter(policy.tasks_of(np.array([i for i in plan.indices if int(i) in hard])))
    assert all(abs(counts[t] - 70 * r) < 1 for t, r in TARGETS.items())


def test_with_alpha_one_no_easy_row_is_used() -> None:
    store, table = make_data()
    policy = make_policy(store, alpha_start=1.0)
    assert set(plan_of(policy, table, 0).indices.tolist()) <= set(policy.pools(table).hard.tolist())


def test_alpha_stays_between_zero_and_one() -> None:
    store, table = make_data()
    assert make_policy(store, alpha_start=0.9).alpha(4) == 1.0
    falling = make_policy(store, alpha_start=0.2, alpha_step=-0.2)
    assert falling.alpha(3) == 0.0
    assert not set(plan_of(falling, table, 2).indices.tolist()) & set(falling.pools(table).hard.tolist())


def test_weights_give_the_share_exactly() -> None:
    store, table = make_data()
    policy = make_policy(store, mode="weight", alpha_start=0.3)
    plan = plan_of(policy, table, 0)
    assert plan.weights is not None
    hard = np.isin(plan.indices, policy.pools(table).hard)
    assert plan.weights[hard].sum() / plan.weights.sum() == pytest.approx(0.3, abs=1e-6)
    assert plan.weights.mean() == pytest.approx(1.0, abs=1e-6)
    assert len(set(plan.weights[hard].tolist())) == 1


def test_a_shortfall_is_reported_and_leaves_the_share() -> None:
    store, table = make_data(num_new=1)
    policy = make_policy(store, count=400, alpha_start=0.5, delta=6.0, max_repeat=2, targets=None)
    plan = plan_of(policy, table, 0)
    num_hard = len(policy.pools(table).hard)
    assert plan.scalars["hard_rows"] == 2 * num_hard < 200
    assert plan.scalars["quota_shortfall"] == 200 - 2 * num_hard
    assert plan.scalars["hard_share"] == pytest.approx(0.5)


def test_a_random_hard_set_has_the_same_size() -> None:
    store, table = make_data()
    ours, random = make_policy(store).pools(table), make_policy(store, hard_set="random").pools(table)
    assert len(ours.hard) == pytest.approx(len(random.hard), abs=1)  # row 3 is replaced and may be drawn or not
    assert set(ours.hard.tolist()) != set(random.hard.tolist())


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_stages_come_to_the_same_number_of_tokens(stage: int) -> None:
    store, table = make_data()
    policy = make_policy(store, count=None, token_budget=3000, warmup_stages=1)
    plan = plan_of(policy, table, stage)
    lengths = store.lengths("conditioned")
    assert abs(lengths[plan.indices].sum() - 3000) <= lengths.max() / 2
    assert plan.scalars.get("hard_share", 0.0) == pytest.approx([0.0, 0.3, 0.5, 0.7][stage], abs=0.01)
    assert np.array_equal(plan.indices, plan_of(policy, table, stage).indices)
    assert policy.stage_sizes(120, 4)[stage] == round(3000 / lengths[:120].mean())


def test_answers_of_the_teacher_stand_in_for_the_raw_rows() -> None:
    store, _ = make_data(num_new=0)
    new = replace(make_example(120, "better", "question 5"), meta={"round": 0, "origin": "raw", "replaces": 5})
    policy = make_policy(ListStore([*(store[i] for i in range(120)), new]), warmup_stages=1, count=120)
    assert not policy.raw[5]
    assert policy.raw[120]
    plan = policy.step(DifficultyTable(121, ["mfd"]), 0, make_generator(0, 0, "policy"))
    assert sorted(plan.indices.tolist()) == [i for i in range(121) if i != 5]


def test_warm_up_trains_on_raw_rows_alone() -> None:
    store, table = make_data()
    policy = make_policy(store, warmup_stages=2)
    assert [policy.round_of(s) for s in range(4)] == [0, 0, 1, 2]
    plan = plan_of(policy, table, 1)
    assert plan.indices.max() < 120
    assert len(set(plan.indices.tolist())) == 100


def test_a_choice_does_not_depend_on_file_order() -> None:
    store, table = make_data(num_new=0)
    order = np.random.default_rng(5).permutation(120)
    shuffled = ListStore([replace(store[int(i)], index=n) for n, i in enumerate(order)])
    moved = DifficultyTable(120, ["mfd"])
    moved.scores["mfd"], moved.scored_at["mfd"] = table.scores["mfd"][order], table.scored_at["mfd"][order]
    first = plan_of(make_policy(store), table, 0).indices
    second = plan_of(make_policy(shuffled), moved, 0).indices
    assert [store[int(i)].id for i in first] == [shuffled[int(i)].id for i in second]


def test_options_are_checked() -> None:
    for options, message in (
        ({"count": None}, r"exactly one of count, fraction and token_budget"),
        ({"token_budget": 100}, r"exactly one of count, fraction and token_budget .*token_budget=100"),
        ({"count": None, "token_budget": 0}, r"curriculum.policy.token_budget must be at least 1"),
        ({"alpha_start": 1.2}, r"curriculum.policy.alpha_start must be in \[0, 1\], got 1.2"),
        ({"epochs_per_round": 0}, r"curriculum.policy.epochs_per_round must be at least 1"),
        ({"warmup_stages": -1}, r"curriculum.policy.warmup_stages must be at least 0"),
        ({"delta": None}, r"exactly one of delta and target_keep"),
        ({"delta": None, "target_keep": 1.5}, r"curriculum.policy.target_keep must be in \(0, 1\)"),
        ({"targets": {"math": 0.0}}, r"curriculum.policy.targets needs ratios"),
        ({"mode": "both"}, r"curriculum.policy.mode"),
        ({"hard_set": "all"}, r"curriculum.policy.hard_set"),
    ):
        with pytest.raises(ValueError, match=message):
            TapirPolicy(**{"count": 10, **options})  # type: ignore[arg-type]


def test_nothing_hard_is_refused() -> None:
    store, table = make_data(num_new=0)
    with pytest.raises(ValueError, match=r"no instruction has a mfd above 50"):
        make_policy(store, delta=50.0).pools(table)
