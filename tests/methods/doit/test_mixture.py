"""Fixed quotas: the same rows in every stage, repeated until the stage is full."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.doit.mixture import AbilityMixturePolicy
from lit_curriculum.types import CONDITIONED
from tests.conftest import ListStore

TABLE = DifficultyTable(40, [])


def rng(stage: int = 0) -> np.random.Generator:
    return np.random.default_rng(stage)


def test_every_stage_has_the_quotas_in_a_new_order(toy_store: ListStore) -> None:
    policy = AbilityMixturePolicy(counts={"a0": 3, "a2": 5})
    policy.setup(toy_store, 2)
    first, second = (policy.step(TABLE, s, rng(s)).indices for s in (0, 1))
    assert sorted(first) == sorted(second)
    assert first.tolist() != second.tolist()
    assert [toy_store.abilities[i] for i in sorted(first)].count("a0") == 3
    assert policy.stage_sizes(40, 2) == [8, 8]
    assert policy.state_dict() == {}


def test_few_rows_are_passed_over_until_the_stage_is_full(toy_store: ListStore) -> None:
    policy = AbilityMixturePolicy(counts={"a0": 3}, rows_per_stage=8)
    policy.setup(toy_store, 1)
    indices = policy.step(TABLE, 0, rng()).indices
    counts = np.unique(indices, return_counts=True)[1]
    assert (len(indices), sorted(counts)) == (8, [2, 3, 3])
    assert set(indices[:3]) == set(indices[3:6])  # a whole pass before the next


def test_equal_tokens(toy_store: ListStore) -> None:
    policy = AbilityMixturePolicy(counts={"a0": 10}, tokens_per_stage=300)
    policy.setup(toy_store, 1)
    indices = policy.step(TABLE, 0, rng()).indices
    mean = toy_store.lengths(CONDITIONED)[np.arange(0, 40, 4)].mean()
    assert abs(len(indices) * mean - 300) <= mean


def test_recipes_work_on_any_abilities(toy_store: ListStore) -> None:
    policy = AbilityMixturePolicy(recipe="reconstruct", quotas={"a0": 1}, budget=16, select="prefix")
    policy.setup(toy_store, 1)
    assert {a: len(r) for a, r in policy.chosen.items()} == {"a0": 1, "a1": 5, "a2": 5, "a3": 5}
    assert policy.chosen["a1"].tolist() == [1, 5, 9, 13, 17]


def test_wrong_options_are_refused(toy_store: ListStore) -> None:
    with pytest.raises(ValueError, match="exactly one of counts and recipe"):
        AbilityMixturePolicy()
    with pytest.raises(ValueError, match="asks for no rows at all"):
        AbilityMixturePolicy(counts={"a": 0})
    with pytest.raises(ValueError, match="at most one of rows_per_stage and tokens_per_stage"):
        AbilityMixturePolicy(counts={"a": 1}, rows_per_stage=1, tokens_per_stage=1)
    with pytest.raises(ValueError, match="rows_per_stage must be at least 1"):
        AbilityMixturePolicy(counts={"a": 1}, rows_per_stage=0)
    policy = AbilityMixturePolicy(counts={"a0": 11})
    with pytest.raises(ValueError, match="asks for 11 rows of ability 'a0', the data have 10"):
        policy.setup(toy_store, 1)
