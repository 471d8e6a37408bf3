"""The lazy greedy choice against the plain one, hand-checked tables and properties."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import sparse

from lit_curriculum.methods.iterit.novelty import greedy_select, novelty
from lit_curriculum.types import FloatArray, IntArray
from tests.selection_toys import END, TOY_A, TOY_B, TOY_B2, corpus, ngram_weights


def _scores(complexity: FloatArray, weights: sparse.csr_array, chosen: Sequence[int], decay: float) -> FloatArray:
    """Every row's score after ``chosen``, all recomputed; 0 for the chosen."""
    remaining = np.ones(weights.shape[1])
    for row in chosen:
        remaining[weights.indices[weights.indptr[row] : weights.indptr[row + 1]]] *= decay
    scores = np.zeros(len(complexity))
    for row in set(range(len(complexity))) - set(chosen):
        span = slice(weights.indptr[row], weights.indptr[row + 1])
        scores[row] = complexity[row] * np.add.reduce(weights.data[span] * remaining[weights.indices[span]])
    return scores


def _reference_greedy(
    complexity: FloatArray, weights: sparse.csr_array, num: int, decay: float, tie_rank: IntArray | None = None
) -> list[int]:
    """Recompute all scores before every pick."""
    ranks = np.arange(len(complexity)) if tie_rank is None else tie_rank
    chosen: list[int] = []
    while len(chosen) < num:
        scores = _scores(complexity, weights, chosen, decay)
        best = scores.max(initial=0.0)
        if best <= 0.0:
            break
        tied = np.flatnonzero(scores == best)
        chosen.append(int(tied[ranks[tied].argmin()]))
    return chosen


# Rows, picks and columns are those of the eligible alone.
TABLES = {
    "A": (TOY_A, "", 0.1, [1, 2, 3, 0], [
        [3.231023, 3.461811, 2.420615, 1.818502],
        [1.040476, 0, 2.420615, 1.633223],
        [1.040476, 0, 0, 1.633223],
        [1.009950, 0, 0, 0],
    ]),
    "A with end of text": (TOY_A, END, 0.1, [1, 2, 3, 0], [
        [3.547129, 3.800496, 2.635023, 2.208439],
        [1.441861, 0, 2.564394, 1.925861],
        [1.430514, 0, 0, 1.913151],
        [1.401623, 0, 0, 0],
    ]),
    "A without decay left": (TOY_A, "", 0.0, [1, 2, 3, 0], [
        [3.231023, 3.461811, 2.420615, 1.818502],
        [0.797082, 0, 2.420615, 1.612637],
    ]),
    "A with decay 0.5": (TOY_A, "", 0.5, [1, 2, 0, 3], [
        [3.231023, 3.461811, 2.420615, 1.818502],
        [2.014053, 0, 2.420615, 1.715569],
        [2.014053, 0, 0, 1.715569],
        [0, 0, 0, 1.664103],
    ]),
    "A without penalty": (TOY_A, "", 1.0, [1, 0, 2, 3], [[3.231023, 3.461811, 2.420615, 1.818502]]),
    "B": (TOY_B, END, 0.1, [0, 4, 1, 2], [
        [3.185279, 1.762388, 2.742271, 1.724818, 3.012028],
        [0, 1.694236, 1.775126, 1.364153, 2.819991],
        [0, 1.456639, 1.421234, 1.354689, 0],
        [0, 0, 1.420295, 1.353743, 0],
    ]),
    "B with decay 0": (TOY_B, END, 0.0, [0, 4, 1, 3], []),
    "B without penalty": (TOY_B, END, 1.0, [0, 4, 2, 1], []),
    "B2": (TOY_B2, END, 0.1, [3, 1, 5, 4, 0], [
        [2.980645, 2.745333, 2.210629, 3.151903, 2.222114, 2.813716],
        [1.102600, 2.346101, 1.040996, 0, 1.778639, 2.073497],
        [1.049278, 0, 1.006427, 0, 1.033037, 1.846354],
        [0.989621, 0, 0.945628, 0, 1.031139, 0],
        [0.987535, 0, 0.945480, 0, 0, 0],
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_hand_checked_tables(name: str) -> None:
    toy, suffix, decay, picks, tables = TABLES[name]
    eligible = [(text, ifd) for text, ifd in toy if ifd < 1]
    complexity = np.array([ifd for _, ifd in eligible])
    weights = ngram_weights([text + suffix for text, _ in eligible])
    assert greedy_select(complexity, weights, len(picks), decay).tolist() == picks
    assert _reference_greedy(complexity, weights, len(picks), decay) == picks
    for number, scores in enumerate(tables):
        np.testing.assert_allclose(_scores(complexity, weights, picks[:number], decay), scores, atol=1e-6)


def test_lazy_choice_equals_plain_choice_exactly() -> None:
    generator = np.random.default_rng(7)
    for trial in range(200):
        texts = corpus(generator, int(generator.integers(1, 40)), 15, 12)
        # Exact duplicates, and few distinct complexities: ties everywhere.
        texts += [texts[i] for i in generator.integers(0, len(texts), 8)]
        complexity = generator.integers(0, 5, len(texts)) / 4
        decay = (0.0, 0.1, 0.5, 0.9, 1.0)[trial % 5]
        tie_rank = generator.permutation(len(texts)) if trial % 2 else None
        weights = ngram_weights(texts)
        num = int(generator.integers(1, len(texts) + 3))
        picks = greedy_select(complexity, weights, num, decay, tie_rank).tolist()
        assert picks == _reference_greedy(complexity, weights, num, decay, tie_rank)
        assert len(set(picks)) == len(picks) <= num


def test_scores_never_rise_and_start_within_bounds() -> None:
    generator = np.random.default_rng(8)
    weights = ngram_weights(corpus(generator, 50, 40, 20))
    distinct = np.diff(weights.indptr)
    start = novelty(weights)
    assert (start <= np.sqrt(distinct) * (1 + 1e-12)).all()
    assert (start[distinct > 0] >= 1 - 1e-12).all()
    complexity = generator.random(50)
    picks = greedy_select(complexity, weights, 20, 0.3).tolist()
    before = _scores(complexity, weights, [], 0.3)
    for number in range(1, 21):
        after = _scores(complexity, weights, picks[:number], 0.3)
        assert (after <= before).all()
        assert (after[picks[:number]] == 0).all()
        before = after


def test_without_penalty_it_is_a_sort() -> None:
    generator = np.random.default_rng(9)
    weights = ngram_weights(corpus(generator, 60, 40, 20))
    complexity = generator.random(60)
    scores = _scores(complexity, weights, [], 1.0)
    expected = np.argsort(-scores, kind="stable")[: np.count_nonzero(scores)]
    np.testing.assert_array_equal(greedy_select(complexity, weights, 60, 1.0), expected)


def test_disjoint_texts_do_not_feel_the_decay() -> None:
    generator = np.random.default_rng(10)
    weights = ngram_weights([" ".join(f"w{i}x{j}" for j in range(1 + i % 5)) for i in range(30)])
    complexity = generator.random(30)
    choices = [greedy_select(complexity, weights, 12, decay).tolist() for decay in (0.0, 0.1, 0.5, 1.0)]
    assert all(choice == choices[0] for choice in choices)


def test_exhausted_scores_end_the_choice() -> None:
    weights = ngram_weights(["red blue green"] * 4)
    complexity = np.array([0.5, 0.625, 0.75, 0.875])
    assert greedy_select(complexity, weights, 3, 0.0).tolist() == [3]
    assert greedy_select(complexity, weights, 4, 0.1).tolist() == [3, 2, 1, 0]
    assert greedy_select(complexity, weights, 9, 0.1).tolist() == [3, 2, 1, 0]
    assert greedy_select(np.zeros(4), weights, 3, 0.1).tolist() == []


def test_ties_go_by_rank() -> None:
    weights = ngram_weights(["red blue green"] * 4)
    assert greedy_select(np.ones(4), weights, 4, 0.5).tolist() == [0, 1, 2, 3]
    assert greedy_select(np.ones(4), weights, 4, 0.5, np.array([2, 0, 3, 1])).tolist() == [1, 3, 0, 2]


def test_scores_that_could_rise_are_refused() -> None:
    weights = ngram_weights(["red blue"])
    with pytest.raises(AssertionError, match="scores would rise"):
        greedy_select(np.array([-1.0]), weights, 1, 0.1)
    with pytest.raises(AssertionError, match="scores would rise"):
        greedy_select(np.array([1.0]), weights, 1, 1.1)


@pytest.mark.slow
@pytest.mark.slow
def test_large_choice_starts_like_the_plain_one() -> None:
    generator = np.random.default_rng(11)
    texts = corpus(generator, 20_000, 30_000, 90)
    weights = ngram_weights(texts)
    complexity = generator.uniform(0.3, 1.0, len(texts))
    started = time.process_time()
    picks = greedy_select(complexity, weights, 1000, 0.1)
    assert time.process_time() - started < 2.0
    assert _reference_greedy(complexity, weights, 5, 0.1) == picks[:5].tolist()
