"""IterIT: hand-checked choices and orders, and a slow reference implementation of the whole loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lit_curriculum import InstructionFollowingDifficulty, StagePlanner
from lit_curriculum.difficulty.engine import Scores
from lit_curriculum.methods.iterit.novelty import ngram_counts, tfidf
from lit_curriculum.methods.iterit.policy import IterITPolicy
from lit_curriculum.types import IntArray
from tests.selection_toys import (
    END,
    FAITHFUL,
    TOY_A,
    TOY_B,
    TOY_B2,
    TOY_C_AGAIN,
    TOY_C_IFD,
    make_store,
    order_of,
    started,
    step,
)


@pytest.mark.parametrize(
    ("toy", "options", "picks", "order"),
    [
        (TOY_A, {"count": 3}, [1, 2, 3], [1, 2, 3, 4, 0]),
        (TOY_A, {"count": 4}, [1, 2, 3, 0], [1, 2, 3, 0, 4]),
        (TOY_A, {"count": 3, "novelty_decay": 0.0}, [1, 2, 3], [1, 2, 3, 4, 0]),
        (TOY_A, {"count": 4, "novelty_decay": 0.5}, [1, 2, 0, 3], [1, 2, 0, 3, 4]),
        (TOY_A, {"count": 3, "novelty_decay": 1.0}, [1, 0, 2], [1, 0, 2, 4, 3]),
        (TOY_A, {"count": 3, "score": "complexity"}, [1, 0, 3], [1, 0, 3, 4, 2]),
        (TOY_A, {"count": 4, "text_suffix": END}, [1, 2, 3, 0], [1, 2, 3, 0, 4]),
        (TOY_B, {"count": 4, "text_suffix": END}, [1, 5, 2, 3], [1, 5, 2, 3, 0, 4]),
        (TOY_B2, {"count": 5, "text_suffix": END}, [3, 1, 6, 4, 0], [3, 1, 6, 4, 0, 5, 2]),
        (TOY_B, {"count": 4}, [1, 5, 3, 2], [1, 5, 3, 2, 0, 4]),
        (TOY_B, {"count": 4, "text_suffix": END, "max_ngram": 2}, [1, 5, 2, 4], [1, 5, 2, 4, 0, 3]),
        (TOY_B, {"count": 4, "text_suffix": END, "max_complexity": None}, [0, 3, 5, 2], [0, 3, 5, 2, 1, 4]),
    ],
)
def test_hand_checked_choices(
    toy: list[tuple[str, float]], options: dict[str, Any], picks: list[int], order: list[int]
) -> None:
    policy, table = started([t for t, _ in toy], [v for _, v in toy], fraction=None, **options, **FAITHFUL)
    assert step(policy, table, 0) == picks
    assert order_of(policy) == order


@pytest.mark.parametrize("score", ["both", "complexity"])
def test_order_and_short_list_over_two_stages(score: str) -> None:
    # Disjoint responses of two words, so that novelty is the same for all.
    responses = [f"left{i} right{i}" for i in range(8)]
    options: dict[str, Any] = {"fraction": None, "count": 2, "refresh_factor": 2.0, "score": score}
    policy, table = started(responses, TOY_C_IFD, **options, **FAITHFUL)
    assert step(policy, table, 0) == [1, 4]
    assert order_of(policy) == [1, 4, 2, 6, 3, 7, 5, 0]
    candidates = policy.candidates(table, 1)
    assert candidates.tolist() == [1, 4, 2, 6]
    table.enter("ifd", candidates, np.array([TOY_C_AGAIN[int(i)] for i in candidates]), 1)
    assert step(policy, table, 1) == [2, 4]
    order = order_of(policy)
    assert order == [2, 4, 6, 1, 3, 7, 5, 0]
    assert table.scores["ifd"][order].tolist() == [0.90625, 0.8125, 1.125, 0.5, 0.75, 0.6875, 0.625, 0.5]
    assert policy.candidates(table, 2).tolist() == [2, 4, 6, 1]


def test_refreshed_short_list_looks_at_all_eligible() -> None:
    responses = [f"left{i} right{i}" for i in range(8)]
    options: dict[str, Any] = {"fraction": None, "count": 2, "refresh_factor": 2.0, "shortlist": "refreshed"}
    policy, table = started(responses, TOY_C_IFD, **options, **FAITHFUL)
    assert step(policy, table, 0) == [1, 4]
    assert order_of(policy) == [1, 4, 3, 7, 5, 0, 2, 6]
    table.enter("ifd", policy.candidates(table, 1), np.array([0.25, 0.25, 0.75, 0.5]), 1)
    assert step(policy, table, 1) == [3, 7]
    # 5 and 0 have their old scores, 1 and 4 fall behind them.
    assert order_of(policy) == [3, 7, 5, 0, 1, 4, 2, 6]


# -- slow reference of the loop --------------------------------------------------------------------------------------


def _reference_stage(
    order: list[int], texts: list[str], score: dict[int, float], size: int, num_scored: int, decay: float
) -> tuple[list[int], list[int]]:
    """One stage from the paper's code as described in the notes, with lists; returns the chosen and the new order."""
    pool, beyond = order[:num_scored], order[num_scored:]
    eligible = [i for i in pool if score[i] < 1.0]
    hard = [i for i in pool if score[i] >= 1.0]
    counts = ngram_counts([texts[i] for i in eligible])
    dense = tfidf(counts).toarray()
    chosen: list[int] = []
    while len(chosen) < min(size, len(eligible)):
        values = [0.0 if i in chosen else score[i] * dense[k].sum() for k, i in enumerate(eligible)]
        best = int(np.argmax(values))
        if values[best] <= 1e-300:
            break
        dense[:, counts.toarray()[best] > 0] *= decay
        chosen.append(eligible[best])
    rest = sorted((i for i in eligible if i not in chosen), key=lambda i: (-score[i], i))
    missing = min(size, len(eligible)) - len(chosen)
    chosen, rest = chosen + rest[:missing], rest[missing:]
    return chosen, chosen + hard + rest + beyond


@pytest.mark.parametrize("decay", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(6))
def test_equals_reference_loop(decay: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    words = [f"word{k}" for k in range(25)]
    texts = [" ".join(generator.choice(words, generator.integers(2, 9))) for _ in range(60)]
    policy = IterITPolicy(fraction=0.1, novelty_decay=decay, ties="row", shuffle="none")
    planner = StagePlanner(policy, {"ifd": InstructionFollowingDifficulty()})
    planner.setup(make_store(texts), 4)
    order, score = list(range(60)), dict.fromkeys(range(60), 0.0)

    def fresh_scores(candidates: IntArray, stage: int) -> Scores:
        # Never equal, so that a rounding error in the reference's sums cannot reorder.
        fresh = generator.uniform(0.3, 1.1, len(candidates)).astype(np.float32).astype(np.float64)
        score.update(zip(candidates.tolist(), fresh.tolist(), strict=True))
        return Scores(values={"ifd": fresh})

    for stage in range(4):
        num_scored = 60 if stage == 0 else 18
        report = planner.plan(stage, fresh_scores)
        assert report.candidates.tolist() == order[:num_scored]
        chosen, order = _reference_stage(order, texts, score, 6, num_scored, decay)
        assert report.plan.indices.tolist() == chosen
        assert order_of(policy) == order
