"""Decisions from likelihoods: gold against distractors, multiple choice, and the letter that a model leans to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from lit_curriculum.evaluation.likelihood import Likelihoods
from lit_curriculum.types import EncodedView, FloatArray

Norm = Literal["mean", "sum"]
LogitStep = Literal["first", "last"]


class Choice(NamedTuple):
    """What the likelihoods say about one item."""

    picked: int
    """Place of the candidate with the lowest loss; the gold one among equals."""
    correct: bool
    margin: float
    """Loss of the best distractor minus that of the gold candidate."""


def gold_wins(losses: FloatArray, gold: int) -> Choice:
    """The gold candidate wins where none has a lower loss: a tie is a win.

    A gold candidate of which nothing is left to score (NaN) loses; such a distractor does not count as lower.

    Args:
        losses: [K] of each candidate.
        gold: Place of the right one.

    References:
        Song et al. 2023, arXiv 2310.19651, section 4.2, in the form of its released code.
    """
    if np.isnan(losses[gold]):
        rest = np.where(np.isnan(losses), np.inf, losses)
        return Choice(int(rest.argmin()) if np.isfinite(rest).any() else -1, False, float("nan"))
    others = np.delete(losses, gold)
    best = float(np.nanmin(others)) if not np.isnan(others).all() else float("inf")
    if losses[gold] <= best:
        return Choice(gold, True, best - float(losses[gold]))
    return Choice(int(np.nanargmin(losses)), False, best - float(losses[gold]))


def most_likely(losses: FloatArray, gold: int) -> Choice:
    """The likeliest candidate, the first among equals.

    Raises:
        ValueError: a candidate has no token left to score.
    """
    if np.isnan(losses).any():
        raise ValueError(
            "a choice adds no token to its prompt within the model's context, so it cannot be compared; "
            "shorten the prompt or raise max_length."
        )
    picked = int(losses.argmin())
    return Choice(picked, picked == gold, float(np.delete(losses, gold).min() - losses[gold]))


def candidate_losses(found: Likelihoods, norm: Norm) -> FloatArray:
    """[K] mean (log-perplexity) or summed loss of each candidate."""
    return found.mean if norm == "mean" else found.nll_sum


def per_character(found: Likelihoods, choices: Sequence[str]) -> FloatArray:
    """[K] loss per character of the choice without blanks around: the ``acc_norm`` of lm-evaluation-harness."""
    characters = np.array([max(len(choice.strip()), 1) for choice in choices], dtype=np.float64)
    return np.divide(found.nll_sum, characters)


def letter_tokens(tokenizer: PreTrainedTokenizerBase, letters: Sequence[str]) -> list[int]:
    """The token of each bare letter, without a mark of a new word.

    Raises:
        ValueError: a letter is not one token.
    """
    vocabulary = tokenizer.get_vocab()
    found = []
    for letter in letters:
        if letter in vocabulary:
            found.append(int(vocabulary[letter]))
            continue
        ids = tokenizer(letter, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise ValueError(f"the letter {letter} is not one token of this tokenizer, so its logit cannot be read.")
        found.append(int(ids[0]))
    return found


def letter_views(
    prompt: NDArray[np.int32], answer: NDArray[np.int32], ended: bool, letter_ids: Sequence[int], step: LogitStep
) -> list[EncodedView]:
    """One view a letter: the letter in place of the answer's first token, or of the last token that was generated.

    Args:
        prompt: [L] tokens that the answer followed.
        answer: Tokens of the answer, without the end token.
        ended: Whether the model ended the answer itself; the last step is then the one that gave the end token.
        letter_ids: Token of each letter.
        step: ``first``, or ``last`` as in DoIT's released code.
    """
    kept = answer[: len(answer) if ended else -1] if step == "last" else answer[:0]
    views = []
    for letter in letter_ids:
        ids = np.concatenate((prompt, kept, np.array([letter], dtype=np.int32))).astype(np.int32)
        scored = np.zeros(len(ids), dtype=np.bool_)
        scored[-1] = True
        views.append(EncodedView(ids, scored))
    return views
