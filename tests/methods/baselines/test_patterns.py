"""Patterns of an order: golden orders worked by hand, slow references, and that each is a permutation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.ordered import InterleavedPolicy, WindowPolicy
from lit_curriculum.methods.baselines.patterns import PatternPolicy, fold, jittered, segments, transitions, zigzag
from lit_curriculum.types import make_generator
from tests.conftest import ListStore, make_example

TEN = np.arange(10)


def _store(abilities: list[str | None] | None = None, num: int = 10) -> ListStore:
    names = abilities or ["a"] * num
    return ListStore([make_example(i, f"answer {i}", ability=name) for i, name in enumerate(names)])


def _table(scores: list[float], metric: str = "nll", **others: list[float]) -> DifficultyTable:
    columns = {metric: scores, **others}
    table = DifficultyTable(len(scores), list(columns))
    for name, column in columns.items():
        table.enter(name, np.arange(len(scores)), np.array(column, dtype=float), 0)
    return table


def _order(policy: Any, table: DifficultyTable, stage: int = 0, stages: int = 3, **data: Any) -> list[int]:
    policy.setup(_store(**data), stages)
    return policy.step(table, stage, make_generator(0, stage, "policy")).indices.tolist()  # type: ignore[no-any-return]


def _reference_layers(order: list[int], layers: int, backwards: bool) -> list[int]:
    out: list[int] = []
    for k in range(layers):
        layer = [x for place, x in enumerate(order) if place % layers == k]
        out += layer[::-1] if backwards and k % 2 == 1 else layer
    return out


def test_golden_orders() -> None:
    assert fold(TEN, 3).tolist() == [0, 3, 6, 9, 1, 4, 7, 2, 5, 8]
    assert zigzag(TEN, 3).tolist() == [0, 3, 6, 9, 7, 4, 1, 2, 5, 8]
    # Two sections meet at place 5; within 2 places of it, 3 4 5 6 is folded in two.
    assert transitions(TEN, 2, 0.2, 2, backwards=False).tolist() == [0, 1, 2, 3, 5, 4, 6, 7, 8, 9]
    assert transitions(TEN, 2, 0.2, 2, backwards=True).tolist() == [0, 1, 2, 3, 5, 6, 4, 7, 8, 9]
    assert transitions(TEN, 1, 0.2, 2, backwards=True).tolist() == TEN.tolist()


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_layers_equal_their_slow_twin(size: int) -> None:
    order = np.random.default_rng(size).permutation(size)
    for layers in (1, 2, 5, 13):
        assert fold(order, layers).tolist() == _reference_layers(order.tolist(), layers, False)
        assert zigzag(order, layers).tolist() == _reference_layers(order.tolist(), layers, True)


def test_segments_keep_their_ends_and_jitter_its_windows() -> None:
    found = segments(np.arange(100), 0.07, 0.29, np.random.default_rng(0))
    assert sorted(found[:7]) == list(range(7))
    assert sorted(found[-29:]) == list(range(71, 100))
    assert found[:7].tolist() != list(range(7))
    windows = jittered(np.arange(100), 30, np.random.default_rng(0))
    assert [sorted(windows[i : i + 30]) for i in (0, 30, 60, 90)] == [
        list(range(i, min(i + 30, 100))) for i in (0, 30, 60, 90)
    ]
    assert np.abs(windows - np.arange(100)).max() < 30


@pytest.mark.parametrize("pattern", ["shuffle", "sorting", "folding", "zigzag", "segment", "stair", "saw"])
def test_every_pattern_is_a_permutation_that_does_not_depend_on_file_order(pattern: Any) -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 5, 40).astype(float)
    scores[3] = np.nan
    examples = [make_example(i, f"answer {i}") for i in range(40)]
    moved = rng.permutation(40)

    def run(which: list[int], jitter: int, direction: Any) -> list[str]:
        policy = PatternPolicy("nll", pattern, direction, jitter=jitter)
        store = ListStore([examples[i] for i in which])
        policy.setup(store, 1)
        plan = policy.step(_table(scores[which].tolist()), 0, make_generator(0, 0, "policy"))
        assert sorted(plan.indices.tolist()) == list(range(40))
        return [store[i].id for i in plan.indices.tolist()]

    for jitter in (1, 6):
        for direction in ("easy_to_hard", "hard_to_easy"):
            assert run(list(range(40)), jitter, direction) == run(moved.tolist(), jitter, direction)


def test_the_pattern_walks_the_chosen_front() -> None:
    table = _table([float(i) for i in range(10)])
    hardest = PatternPolicy("nll", "zigzag", "hard_to_easy", fraction=0.6, layers=2)
    assert _order(hardest, table) == [9, 7, 5, 4, 6, 8]


def test_reducible_loss_chooses_what_a_reference_knows() -> None:
    # Hard for both (noise), easy for both, and learnable: hard for the model, easy for the reference.
    table = _table([5.0, 1.0, 4.0, 3.0], reference=[5.0, 0.9, 1.0, np.nan])
    policy = PatternPolicy("nll", "sorting", "hard_to_easy", fraction=0.5, baseline="reference", rescore="each_stage")
    assert policy.required_metrics == ("nll", "reference")
    assert _order(policy, table, num=4) == [2, 1]
    fresh = DifficultyTable(4, ["nll", "reference"])
    assert policy.candidates(fresh, 0).tolist() == [0, 1, 2, 3]
    assert policy.candidates(table, 1).tolist() == [0, 1, 2, 3]


def test_abilities_rise_together_or_one_after_the_other() -> None:
    abilities: list[str | None] = ["a", "b", "a", "a", "b", "a"]
    table = _table([3.0, 20.0, 1.0, 2.0, 10.0, 4.0])
    # a: 2 3 0 5 at 1/8 3/8 5/8 7/8; b: 4 1 at 1/4 3/4.
    assert _order(InterleavedPolicy("nll"), table, abilities=abilities) == [2, 4, 3, 0, 1, 5]
    blocked = InterleavedPolicy("nll", grouping="blocked")
    assert _order(blocked, table, abilities=abilities) == [2, 3, 0, 5, 4, 1]
    backwards = InterleavedPolicy("nll", grouping="blocked", direction="hard_to_easy")
    assert _order(backwards, table, abilities=abilities) == [1, 4, 5, 0, 3, 2]
    unknown = _table([np.nan, 20.0, np.nan, np.nan, 10.0, np.nan])
    assert _order(blocked, unknown, abilities=abilities)[:2] == [4, 1]
    with pytest.raises(ValueError, match=r"example 'toy-1' \(toy.jsonl:2\) has none; give every record"):
        InterleavedPolicy("nll").setup(_store(["a", None]), 1)


def test_the_window_slides_as_a_sigmoid() -> None:
    table = _table([float(i) for i in range(10)])
    seen = [sorted(_order(WindowPolicy("nll", 0.2), table, stage, 3)) for stage in range(3)]
    # a = floor(8 sigmoid(-5)) = 0, floor(8 / 2) = 4, floor(8 sigmoid(5)) = floor(7.946) = 7
    assert seen == [[0, 1], [4, 5], [7, 8]]
    backwards = WindowPolicy("nll", fraction=None, count=3, direction="hard_to_easy")
    assert sorted(_order(backwards, table, 0, 3)) == [7, 8, 9]
    assert sorted(_order(WindowPolicy("nll", 1.0), table, 0, 1)) == list(range(10))
    assert WindowPolicy("nll", 0.2).stage_sizes(50, 4) == [10, 10, 10, 10]


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"curriculum.policy.pattern must be one of shuffle"):
        PatternPolicy("nll", "random")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"curriculum.policy.layers must be at least 1, got 0"):
        PatternPolicy("nll", "folding", layers=0)
    with pytest.raises(ValueError, match=r"head and tail must be at least 0 and sum to at most 1"):
        PatternPolicy("nll", "segment", head=0.6, tail=0.5)
    with pytest.raises(ValueError, match=r"transition=0.2 must be in \[0, 0.166667\) with sections=3"):
        PatternPolicy("nll", "saw", sections=3, transition=0.2)
    with pytest.raises(ValueError, match=r"curriculum.policy.grouping must be one of interleaved"):
        InterleavedPolicy("nll", grouping="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"curriculum.policy.steepness must be above 0"):
        WindowPolicy("nll", steepness=0.0)
