"""One budget in three units: share, number, tokens."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum import OrderedPolicy, UniformPolicy
from lit_curriculum.curriculum.ordering import StageSize
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import CONDITIONED, make_generator
from tests.conftest import ListStore, make_example

# "<Say it.>" has 9 tokens, and a token is a byte.
LENGTHS = [10, 20, 30, 40, 10]


def store() -> ListStore:
    return ListStore([make_example(i, chr(97 + i) * (n - 9)) for i, n in enumerate(LENGTHS)])


def size_of(**budget: float | int) -> StageSize:
    options = {"fraction": None, "count": None, "tokens": None} | budget
    size = StageSize(**options)  # type: ignore[arg-type]
    size.setup(store())
    return size


def test_the_front_that_fits() -> None:
    order = np.array([2, 1, 0, 4, 3])
    assert store().lengths(CONDITIONED).tolist() == LENGTHS
    assert size_of(tokens=60).cut(order, 5).tolist() == [2, 1, 0]
    assert size_of(tokens=59).cut(order, 5).tolist() == [2, 1]
    assert size_of(tokens=1000).cut(order, 5).tolist() == order.tolist()
    assert size_of(count=2).cut(order, 5).tolist() == [2, 1]
    assert size_of(fraction=0.8).cut(order, 5).tolist() == [2, 1, 0, 4]


def test_planned_and_largest_numbers() -> None:
    assert size_of(tokens=66).planned(5) == 3  # of mean length 22
    assert size_of(tokens=9000).planned(5) == 5
    assert size_of(tokens=40).most(np.arange(5), 5) == 3  # 10 + 10 + 20
    assert size_of(tokens=40).most(np.array([2, 3]), 5) == 1
    assert size_of(count=4).most(np.array([0, 1]), 5) == 2
    with pytest.raises(AssertionError, match="setup comes before"):
        StageSize(None, None, 50).planned(5)


def test_no_front_of_any_order_is_larger_than_the_largest() -> None:
    generator = np.random.default_rng(0)
    for tokens in (40, 55, 77, 110):
        size = size_of(tokens=tokens)
        found = [len(size.cut(generator.permutation(5), 5)) for _ in range(200)]
        assert max(found) == size.most(np.arange(5), 5)


def test_policies_take_tokens() -> None:
    table = DifficultyTable(5, ["x"])
    table.enter("x", np.arange(5), np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 0)
    ordered = OrderedPolicy("x", "hard_to_easy", fraction=None, tokens=55)
    uniform = UniformPolicy(None, tokens=55, fresh="once")
    for policy in (ordered, uniform):
        policy.setup(store(), 2)
    assert ordered.step(table, 0, make_generator(0, 0, "policy")).indices.tolist() == [4, 3]
    assert list(ordered.stage_sizes(5, 2)) == [2, 2]
    plans = [uniform.step(table, s, make_generator(0, s, "policy")).indices for s in (0, 1)]
    lengths = np.array(LENGTHS)
    assert set(plans[0].tolist()) == set(plans[1].tolist())
    assert lengths[plans[0]].sum() <= 55


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"give exactly one of fraction"):
        StageSize(0.5, None, 10)
    with pytest.raises(ValueError, match=r"curriculum.policy.tokens must be at least 1, got 0"):
        StageSize(None, None, 0)
    with pytest.raises(ValueError, match=r"tokens=39 is less than the 40 tokens of example toy-3 \(toy.jsonl:4\)"):
        size_of(tokens=39)
    with pytest.raises(ValueError, match=r"count must be between 1 and the 5 examples"):
        size_of(count=6)
