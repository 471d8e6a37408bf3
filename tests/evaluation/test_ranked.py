"""Ranking by likelihood: on known losses, on a model whose losses are known, and against a slow reference."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from lit_curriculum import CausalLMModule
from lit_curriculum.data.template import resolve_template
from lit_curriculum.evaluation.likelihood import (
    Likelihoods,
    candidate_losses,
    continuation_view,
    gold_wins,
    letter_tokens,
    letter_views,
    likelihoods,
    most_likely,
    per_character,
    turn_view,
)
from lit_curriculum.methods.baselines.scorers.scorer import Scorer
from lit_curriculum.types import Batch, EncodedView, Message, TokenNLL
from tests.data.toy_tokenizers import byte_level
from tests.methods.baselines.tiny_scorer import CHAT, save_scorer

QUESTION = (Message(role="user", content="Say it."),)


class Letters:
    """Each token's loss is a fixed number, whatever precedes it."""

    def __init__(self, losses: dict[str, float], otherwise: float = 5.0) -> None:
        self.table = torch.full((256,), otherwise)
        for letter, loss in losses.items():
            self.table[ord(letter)] = loss
        self.batches: list[int] = []

    def token_nll(self, batch: Batch, /) -> TokenNLL:
        self.batches.append(batch.input_ids.numel())
        row, column = batch.scored.nonzero(as_tuple=True)
        nll = self.table[batch.input_ids[row, column]]
        return TokenNLL(nll, row, nll < 1.0)


def views(answers: list[str], limit: int = 100) -> list[EncodedView]:
    tokenizer = byte_level()
    tokenizer.chat_template = CHAT + "{{ '$' if messages[-1]['role'] == 'assistant' }}"
    template = resolve_template(tokenizer, "tokenizer")
    return [turn_view(template, QUESTION, answer, "item", limit) for answer in answers]


def test_only_the_answer_and_the_end_of_its_turn_are_scored() -> None:
    view = views(["ab"])[0]
    assert bytes(view.input_ids.tolist()).decode() == "<u>Say it.<a>ab$"
    assert bytes(view.input_ids[view.scored].tolist()).decode() == "ab$"


def test_perplexity_is_over_the_candidate_with_its_end_and_length_normalised() -> None:
    model = Letters({"a": 1.0, "b": 3.0, "$": 2.0})
    found = likelihoods(model, views(["a", "ab", "aaaa"]), 1000)
    assert found.nll_sum.tolist() == [3.0, 6.0, 6.0]
    assert found.num_scored.tolist() == [2, 3, 5]
    assert candidate_losses(found, "mean").tolist() == pytest.approx([1.5, 2.0, 1.2])
    # The longest candidate wins by its mean and the shortest by its sum.
    assert gold_wins(candidate_losses(found, "mean"), 2).correct
    assert not gold_wins(candidate_losses(found, "sum"), 2).correct
    assert gold_wins(candidate_losses(found, "sum"), 0) == (0, True, 3.0)


def test_a_tie_is_a_win_wherever_the_gold_candidate_stands() -> None:
    for gold in range(3):
        assert gold_wins(np.array([1.0, 1.0, 1.0]), gold) == (gold, True, 0.0)
    assert gold_wins(np.array([1.0, 0.5, 2.0]), 0) == (1, False, -0.5)


def test_a_gold_candidate_that_was_cut_off_whole_loses() -> None:
    found = likelihoods(Letters({}), views(["ab", "c"], limit=13), 1000)
    assert found.num_scored.tolist() == [0, 0]
    assert np.isnan(found.nll_sum).all()
    assert not gold_wins(found.nll_sum, 0).correct
    assert gold_wins(np.array([math.nan, 2.0, 3.0]), 0)[:2] == (1, False)
    assert gold_wins(np.array([2.0, math.nan, math.nan]), 0)[:2] == (0, True)
    with pytest.raises(ValueError, match="a choice adds no token to its prompt"):
        most_likely(np.array([1.0, math.nan]), 0)


def test_the_first_of_equally_likely_choices_is_picked() -> None:
    assert most_likely(np.array([1.0, 1.0]), 1)[:2] == (0, False)
    assert most_likely(np.array([2.0, 1.0]), 1)[:2] == (1, True)


def test_loss_per_character_of_a_choice() -> None:
    found = Likelihoods(np.array([4.0, 6.0]), np.array([1, 2]), np.array([True, False]))
    assert per_character(found, [" ab", " abcd"]).tolist() == [2.0, 1.5]


def test_blanks_at_the_end_of_a_prompt_belong_to_the_continuation() -> None:
    tokenizer = byte_level()
    for prompt, continuation in (("ab ", "cd"), ("ab", " cd")):
        view = continuation_view(tokenizer, prompt, continuation, 100)
        assert bytes(view.input_ids[view.scored].tolist()).decode() == " cd"
    view = continuation_view(tokenizer, "abcdef", "gh", 4)
    assert bytes(view.input_ids.tolist()).decode() == "efgh"
    assert view.scored.tolist() == [False, False, True, True]


def test_letters_take_the_place_of_the_first_or_the_last_step() -> None:
    prompt, answer = np.array([1, 2], np.int32), np.array([7, 8], np.int32)
    for step, ended, ids in (
        ("first", True, [1, 2]),
        ("last", True, [1, 2, 7, 8]),
        ("last", False, [1, 2, 7]),
    ):
        made = letter_views(prompt, answer, ended, [65, 66], step)  # type: ignore[arg-type]
        assert [v.input_ids.tolist() for v in made] == [[*ids, 65], [*ids, 66]]
        assert all(v.scored.tolist() == [False] * len(ids) + [True] for v in made)


def test_letters_that_are_no_tokens_are_refused() -> None:
    assert letter_tokens(byte_level(), ["A", "D"]) == [65, 68]
    with pytest.raises(ValueError, match="the letter 一 is not one token"):
        letter_tokens(byte_level(), ["一"])


def _reference_likelihood(module: CausalLMModule, view: EncodedView) -> tuple[float, bool]:
    """One sequence alone, from all of its logits."""
    assert module.model is not None
    with torch.no_grad():
        logits = module.model(input_ids=torch.tensor(view.input_ids[None].astype(np.int64))).logits[0].double()
    total, greedy = 0.0, True
    for position in range(1, len(view.input_ids)):
        if view.scored[position]:
            target = int(view.input_ids[position])
            total -= float(logits[position - 1].log_softmax(-1)[target])
            greedy &= int(logits[position - 1].argmax()) == target
    return total, greedy


def test_batches_equal_one_at_a_time(tmp_path: Path) -> None:
    scorer = Scorer(save_scorer(tmp_path))
    module = scorer.load()
    module.train()
    answers = ["a", "longer answer", "", "x y z", "mm" * 20]
    made = [turn_view(resolve_template(scorer.tokenizer), QUESTION, a, "i", 64) for a in answers if a]
    made += [continuation_view(scorer.tokenizer, "Once upon", f" {a}", 64) for a in answers]
    for budget in (1, 100, 10_000):
        found = likelihoods(module, made, budget)
        for k, view in enumerate(made):
            total, greedy = _reference_likelihood(module.eval(), view)
            assert found.nll_sum[k] == pytest.approx(total, abs=1e-4)
            assert found.greedy[k] == greedy
    assert all(b.training for b in module.train().modules())


def test_a_broken_model_is_reported() -> None:
    with pytest.raises(ValueError, match="NaN or infinite on an evaluation item"):
        likelihoods(Letters({"a": math.inf}), views(["a"]), 100)


def test_nothing_to_score_is_not_an_error() -> None:
    assert len(likelihoods(Letters({}), [], 100).nll_sum) == 0
