"""Likelihoods of candidate answers, and decisions from them: gold against distractors, multiple choice, letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from lit_curriculum.data.template import ChatTemplate
from lit_curriculum.data.tokenize import ViewText, tokenize
from lit_curriculum.difficulty.batching import pack_by_tokens, trim
from lit_curriculum.difficulty.runner import Progress
from lit_curriculum.types import Batch, BoolArray, EncodedView, FloatArray, IntArray, LanguageModel, Message
from lit_curriculum.utils.eval_mode import evaluation_mode

Norm = Literal["mean", "sum"]
LogitStep = Literal["first", "last"]


class Likelihoods(NamedTuple):
    """Of K sequences; a sequence without a scored token has loss NaN, so that nothing can win by having lost all."""

    nll_sum: FloatArray
    """[K] nats over the scored tokens."""
    num_scored: IntArray
    """[K] scored tokens."""
    greedy: BoolArray
    """[K] whether each scored token is the model's most likely one."""

    @property
    def mean(self) -> FloatArray:
        """[K] nats per scored token; its exponential is the perplexity."""
        return self.nll_sum / np.maximum(self.num_scored, 1)

    def rows(self, low: int, high: int) -> Likelihoods:
        """Those of the sequences from ``low`` up to ``high``."""
        return Likelihoods(self.nll_sum[low:high], self.num_scored[low:high], self.greedy[low:high])


def turn_view(template: ChatTemplate, context: Sequence[Message], answer: str, where: str, limit: int) -> EncodedView:
    """A conversation that ends with ``answer``; scored are its tokens and the end of its turn, and nothing before.

    Args:
        template: Bound to the tokenizer.
        context: The turns before the answer.
        answer: The assistant's turn.
        where: Place and id of the item, for the message of an error.
        limit: Tokens that are kept from the beginning, so that a long context may cost the answer tokens.
    """
    text, turns = template.locate((*context, Message(role="assistant", content=answer)), where)
    span = (turns[-1].start, turns[-1].closing_end)
    view = tokenize(template.tokenizer, [ViewText(text, (span,))], "whole" if template.tokenizer.is_fast else "split")
    ids, scored = view[0].input_ids[:limit], view[0].scored[:limit].copy()
    scored[:1] = False
    return EncodedView(ids, scored)


def continuation_view(tokenizer: PreTrainedTokenizerBase, prompt: str, continuation: str, limit: int) -> EncodedView:
    """Plain text and its continuation; blanks at the end of the prompt count to the continuation.

    Both are tokenised together, and what lies behind the prompt's own number of tokens is scored. What is too long
    loses tokens at its beginning, as is usual for likelihoods of continuations.
    """
    bare = prompt.rstrip()
    continuation = prompt[len(bare) :] + continuation
    whole, before = plain_tokens(tokenizer, bare + continuation), plain_tokens(tokenizer, bare)
    scored = np.arange(len(whole)) >= len(before)
    scored[:1] = False
    return EncodedView(np.array(whole, dtype=np.int32)[-limit:], _first_unscored(scored[-limit:]))


def plain_tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids with what the tokenizer itself adds, unless the text begins with its first token already."""
    bos = tokenizer.bos_token
    add = not (isinstance(bos, str) and text.startswith(bos))
    return list(tokenizer(text, add_special_tokens=add, verbose=False)["input_ids"])


@torch.no_grad()
def likelihoods(
    model: LanguageModel, views: Sequence[EncodedView], token_budget: int, device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Likelihoods:  # fmt: skip
    """Losses of all views, in batches of nearly equal length with at most ``token_budget`` padded tokens.

    Args:
        model: The model that scores.
        views: Each with what is scored of it.
        token_budget: Of a batch.
        device: Where batches go.
        progress: Called with (tokens done, tokens in all) after each batch.

    Raises:
        ValueError: a loss is NaN or infinite.
    """
    count = np.array([int(view.scored.sum()) for view in views], dtype=np.int64)
    total, greedy = np.full(len(views), np.nan), np.zeros(len(views), dtype=np.bool_)
    scorable = np.flatnonzero(count)
    trimmed = {int(k): trim(views[int(k)]) for k in scorable}
    lengths: IntArray = np.array([len(trimmed[int(k)].input_ids) for k in scorable], dtype=np.int64)
    done = 0
    with evaluation_mode(model) if isinstance(model, torch.nn.Module) else torch.no_grad():
        for rows in pack_by_tokens(lengths, token_budget) if len(scorable) else ():
            places = scorable[rows]
            batch = Batch.from_views([(int(k), 1.0, trimmed[int(k)]) for k in places]).to(device)
            tokens = model.token_nll(batch)
            nll, row = tokens.nll.cpu().double(), tokens.row.cpu()
            total[places] = torch.zeros(len(rows), dtype=torch.float64).index_add_(0, row, nll).numpy()
            misses = torch.zeros(len(rows), dtype=torch.int64).index_add_(0, row, (~tokens.hit).cpu().long())
            greedy[places] = (misses == 0).numpy()
            done += int(lengths[rows].sum())
            if progress is not None:
                progress(done, int(lengths.sum()))
    if not np.isfinite(total[scorable]).all():
        raise ValueError("the model's loss is NaN or infinite on an evaluation item; its weights are broken.")
    return Likelihoods(total, count, greedy)


def _first_unscored(scored: BoolArray) -> BoolArray:
    out = scored.copy()
    out[:1] = False
    return out


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
