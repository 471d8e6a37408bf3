"""IterIT: what each option does, and which values are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.iterit.novelty import greedy_select, ngram_counts, tfidf
from lit_curriculum.methods.iterit.policy import IterITPolicy
from lit_curriculum.types import make_generator
from tests.conftest import ListStore, make_example
from tests.selection_toys import FAITHFUL, make_store, random_run, started, step


def test_choice_does_not_depend_on_file_order() -> None:
    texts = [f"left{i % 4} right{i % 4} and more" for i in range(12)]
    ifd = [0.5, 0.75] * 6
    store = make_store(texts)
    permutation = np.random.default_rng(0).permutation(12)
    shuffled = ListStore([store[int(i)] for i in permutation])
    chosen = []
    for examples in (store, shuffled):
        policy = IterITPolicy(fraction=0.5, shuffle="none")
        policy.setup(examples, 1)
        table = DifficultyTable(12, ["ifd"])
        table.enter("ifd", np.arange(12), np.array([ifd[examples[i].index] for i in range(12)]), 0)
        chosen.append([examples[i].content_hash for i in step(policy, table, 0)])
    assert chosen[0] == chosen[1]


def test_static_never_scores_again() -> None:
    policy, table = random_run(strategy="static", shuffle="stage")
    first = step(policy, table, 0)
    assert len(policy.candidates(table, 1)) == 0
    plan = policy.step(table, 1, make_generator(0, 1, "policy"))
    assert sorted(plan.indices) == sorted(first)
    assert plan.indices.tolist() != first
    assert plan.scalars == {"selected": 8, "overlap": 1.0, "newly_hard": 0.0}


def test_shuffles() -> None:
    by_choice, table = random_run(shuffle="none")
    chosen = step(by_choice, table, 0)
    fixed, table = random_run(shuffle="fixed", strategy="static")
    first = step(fixed, table, 0)
    assert first != chosen
    assert sorted(first) == sorted(chosen)
    assert step(fixed, table, 1) == first
    by_stage, table = random_run(shuffle="stage", strategy="static")
    orders = [step(by_stage, table, stage) for stage in range(3)]
    assert len({tuple(order) for order in orders}) == 3
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(chosen))}


def test_bfloat16_rounds_before_the_filter() -> None:
    texts = ["red blue", "green sun", "boat sea"]
    ifd = [0.998, 0.99805, 0.5]
    policy, table = started(texts, ifd, fraction=None, count=3, **FAITHFUL)
    assert step(policy, table, 0) == [0, 2]
    policy, table = started(texts, ifd, fraction=None, count=3, ties="row", shuffle="none")
    assert step(policy, table, 0) == [1, 0, 2]


@pytest.mark.parametrize(("text", "picks"), [("response", {0, 2}), ("instruction", {0, 1}), ("both", {1, 2})])
def test_what_is_novel_depends_on_the_text(text: Any, picks: set[int]) -> None:
    # 0 and 1 share their response, 0 and 2 their instruction, 1 and 2 nothing.
    examples = [
        make_example(0, "same words", "first question"),
        make_example(1, "same words", "other theme"),
        make_example(2, "fresh text", "first question"),
    ]
    ifd = [0.9, 0.8, 0.7] if text != "both" else [0.1, 0.8, 0.7]
    policy = IterITPolicy(fraction=None, count=2, text=text, novelty_decay=0.0)
    policy.setup(ListStore(examples), 1)
    table = DifficultyTable(3, ["ifd"])
    table.enter("ifd", np.arange(3), np.array(ifd), 0)
    assert set(step(policy, table, 0)) == picks


def test_novelty_alone_ignores_complexity() -> None:
    policy, table = random_run(score="novelty", ties="row", shuffle="none")
    eligible = np.flatnonzero(table.scores["ifd"] < 1.0)
    texts = [policy._examples[int(i)].response for i in eligible]
    expected = eligible[greedy_select(np.ones(len(eligible)), tfidf(ngram_counts(texts)), 8, 0.1)]
    assert step(policy, table, 0) == expected.tolist()


@pytest.mark.parametrize("refresh_factor", [None, 1.0])
def test_whole_data_can_be_scored_again(refresh_factor: float | None) -> None:
    policy, table = random_run(refresh_factor=refresh_factor)
    step(policy, table, 0)
    assert sorted(policy.candidates(table, 1)) == list(range(40))


def test_short_list_longer_than_the_data_is_clipped() -> None:
    policy, table = random_run(fraction=0.5, refresh_factor=10.0)
    step(policy, table, 0)
    assert sorted(policy.candidates(table, 1)) == list(range(40))


def test_precomputed_scores_are_not_asked_for_again() -> None:
    policy = IterITPolicy(fraction=None, count=2)
    policy.setup(make_store(["red blue", "green sun", "boat sea"]), 1)
    table = DifficultyTable(3, ["ifd"])
    table.enter("ifd", np.array([1]), np.array([0.5]), 0)
    assert policy.candidates(table, 0).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 0.0}, r"curriculum.policy.fraction must be in \(0, 1\], got 0.0"),
        ({"fraction": 1.5}, r"curriculum.policy.fraction must be in \(0, 1\], got 1.5"),
        ({"count": 5}, "give exactly one of fraction and count"),
        ({"fraction": None}, "give exactly one of fraction and count"),
        ({"fraction": None, "count": 0}, "curriculum.policy.count must be at least 1, got 0"),
        ({"refresh_factor": 0.5}, "refresh_factor must be at least 1, got 0.5"),
        ({"refresh_factor": float("nan")}, "refresh_factor must be at least 1"),
        ({"max_ngram": 0}, "max_ngram must be at least 1, got 0"),
        ({"novelty_decay": 1.1}, r"novelty_decay must be in \[0, 1\], got 1.1"),
        ({"novelty_decay": -0.1}, r"novelty_decay must be in \[0, 1\], got -0.1"),
        ({"text": "prompt"}, "curriculum.policy.text must be one of instruction, response, both"),
        ({"score": "sum"}, "curriculum.policy.score must be one of both, complexity, novelty"),
        ({"strategy": "adaptive"}, "curriculum.policy.strategy must be one of iterative, static"),
        ({"shortlist": "frozen"}, "curriculum.policy.shortlist must be one of reference, refreshed"),
        ({"score_dtype": "float16"}, "curriculum.policy.score_dtype must be one of float32, bfloat16"),
        ({"ties": "index"}, "curriculum.policy.ties must be one of hash, row"),
        ({"shuffle": "never"}, "curriculum.policy.shuffle must be one of stage, fixed, none"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IterITPolicy(**options)


def test_a_count_beyond_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match="count must be between 1 and the 2 examples of the data"):
        IterITPolicy(fraction=None, count=3).setup(make_store(["red", "blue"]), 1)
    with pytest.raises(ValueError, match=r"fraction=0.05 of 2 examples is less than one example"):
        IterITPolicy().setup(make_store(["red", "blue"]), 1)
