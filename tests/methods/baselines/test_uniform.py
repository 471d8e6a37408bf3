"""Uniform order: whole data, fresh and fixed subsets, state."""

from __future__ import annotations

from typing import Any

import pytest

from lit_curriculum.curriculum.base import resolve_count
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.uniform import UniformPolicy
from lit_curriculum.types import make_generator
from tests.conftest import ListStore


def _run(store: ListStore, stages: int, seed: int = 0, **options: Any) -> list[list[int]]:
    policy = UniformPolicy(**options)
    policy.setup(store, stages)
    table = DifficultyTable(len(store), [])
    assert len(policy.candidates(table, 0)) == 0
    return [policy.step(table, s, make_generator(seed, s, "policy")).indices.tolist() for s in range(stages)]


def test_every_stage_sees_all_data_in_a_new_order(toy_store: ListStore) -> None:
    stages = _run(toy_store, 3)
    assert all(sorted(stage) == list(range(40)) for stage in stages)
    assert len({tuple(stage) for stage in stages}) == 3
    assert stages == _run(toy_store, 3)
    assert stages != _run(toy_store, 3, seed=1)


def test_fresh_subsets_differ_and_fixed_subsets_do_not(toy_store: ListStore) -> None:
    fresh = _run(toy_store, 3, fraction=0.25)
    once = _run(toy_store, 3, fraction=0.25, fresh="once")
    assert all(len(set(stage)) == 10 for stage in fresh + once)
    assert len({frozenset(stage) for stage in fresh}) == 3
    assert len({frozenset(stage) for stage in once}) == 1
    assert len({tuple(stage) for stage in once}) == 3


def test_every_example_is_equally_likely(toy_store: ListStore) -> None:
    drawn = [0] * 40
    for seed in range(400):
        for index in _run(toy_store, 1, seed=seed, fraction=None, count=10)[0]:
            drawn[index] += 1
    # Mean 100, standard deviation below 8.7; five of them on either side.
    assert 56 < min(drawn) <= max(drawn) < 144


def test_sizes_are_known_before_training() -> None:
    assert UniformPolicy(fraction=0.25).stage_sizes(40, 3) == [10, 10, 10]


def test_state_keeps_the_fixed_subset(toy_store: ListStore) -> None:
    table = DifficultyTable(40, [])
    policy, resumed = UniformPolicy(fraction=0.25, fresh="once"), UniformPolicy(fraction=0.25, fresh="once")
    policy.setup(toy_store, 2)
    resumed.setup(toy_store, 2)
    policy.step(table, 0, make_generator(0, 0, "policy"))
    resumed.load_state_dict(policy.state_dict())
    plans = [p.step(table, 1, make_generator(0, 1, "policy")) for p in (policy, resumed)]
    assert plans[0].indices.tolist() == plans[1].indices.tolist()
    smaller = UniformPolicy()
    smaller.setup(ListStore(toy_store.examples[:30]), 2)
    with pytest.raises(ValueError, match="random subset is of 40 examples, the data have 30"):
        smaller.load_state_dict(policy.state_dict())


def test_a_fixed_subset_grows_with_the_data(toy_store: ListStore) -> None:
    policy = UniformPolicy(fraction=0.5, fresh="once")
    policy.setup(ListStore(toy_store.examples[:30]), 2)
    first = policy.step(DifficultyTable(30, []), 0, make_generator(0, 0, "policy")).indices
    policy.setup(toy_store, 2)
    second = policy.step(DifficultyTable(40, []), 1, make_generator(0, 1, "policy")).indices
    assert (len(first), len(second)) == (15, 20)
    assert set(first) < set(second)


def test_options_out_of_range_are_refused(toy_store: ListStore) -> None:
    with pytest.raises(ValueError, match=r"curriculum.policy.fraction must be in \(0, 1\], got 0"):
        UniformPolicy(fraction=0)
    with pytest.raises(ValueError, match="give exactly one of fraction, count and tokens"):
        UniformPolicy(count=5)
    with pytest.raises(ValueError, match=r"curriculum.policy.fresh must be one of each_stage, once"):
        UniformPolicy(fresh="always")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="count must be between 1 and the 40 examples of the data"):
        UniformPolicy(fraction=None, count=41).setup(toy_store, 1)


def test_resolve_count() -> None:
    assert resolve_count(100, fraction=0.05, count=None) == 5
    assert resolve_count(52_002, fraction=0.05, count=None) == 2600
    assert resolve_count(10, fraction=None, count=10) == 10
    with pytest.raises(ValueError, match=r"curriculum.policy.fraction=0.05 of 19 examples is less than one example"):
        resolve_count(19, fraction=0.05, count=None)
    with pytest.raises(ValueError, match=r"curriculum.policy.count must be at least 1, got 0"):
        resolve_count(10, fraction=None, count=0)
