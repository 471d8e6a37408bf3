"""Batched generation whose answers do not depend on the batch, and the mixin that gives it to a module."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lit_curriculum.models.execution.token_nll import causal_lm
from lit_curriculum.types import IntArray
from lit_curriculum.utils.eval_mode import evaluation_mode
from lit_curriculum.utils.float64 import has_float64, to_float64
from lit_curriculum.utils.options import check_range

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TokenIds = NDArray[np.int32]
_BUDGET = {"cpu": 16_384, "cuda": 131_072}
_NO_LIMIT = 1 << 40
_COMPACT_ABOVE = 0.25
"""Share of finished rows above which they leave the batch; copying the cache costs something too."""
_QUESTION = [{"role": "user", "content": "x"}]
_REPLY = "rEpLy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How answers are drawn.

    Args:
        max_new_tokens: Tokens at most of one answer.
        end_ids: Tokens that end an answer.
        temperature: 0 takes the most likely token; above, logits are divided by it and a token is drawn.
        seed: Of the draws.
        context_length: Tokens of prompt and answer together at most; none where the model sets no limit.

    Raises:
        ValueError: an option is out of range.
    """

    max_new_tokens: int
    end_ids: Collection[int]
    temperature: float = 0.0
    seed: int = 0
    context_length: int | None = None

    def __post_init__(self) -> None:
        check_range("", "[1, inf)", max_new_tokens=self.max_new_tokens)
        check_range("", "[0, inf)", temperature=self.temperature)


def generate_tokens(
    model: nn.Module, prompts: Sequence[TokenIds], decoding: Decoding, token_budget: int | None = None
) -> list[TokenIds]:
    """The answer to each prompt [L], without the prompt and without the token that ended it.

    Prompts are sorted by length and padded on the left, rows that have ended leave the batch, and a batch that does
    not fit in memory is halved. An answer also ends where the context does. A draw uses one uniform number a token,
    made from the seed and the prompt alone, so batch, order and rank change an answer only where two tokens are
    equally likely to within rounding. Flags and random state of the model are left as they were.

    Args:
        model: A Hugging Face causal language model, or one wrapped for LoRA.
        prompts: Token ids of each prompt; none may be empty.
        decoding: Options.
        token_budget: Columns of the cache that one batch may fill, prompts and answers together; by default by device.

    Raises:
        ValueError: a prompt is empty or leaves no room in the context.
    """
    _check(prompts, decoding)
    device = next(model.parameters()).device
    budget = token_budget if token_budget is not None else _BUDGET.get(device.type, _BUDGET["cuda"])
    answers: list[TokenIds] = [np.empty(0, np.int32)] * len(prompts)
    with evaluation_mode(model):
        for rows in length_buckets([len(p) for p in prompts], decoding.max_new_tokens, budget):
            for row, answer in zip(rows, _halving(model, [prompts[r] for r in rows], decoding, device), strict=True):
                answers[row] = answer
    return answers


def length_buckets(lengths: Sequence[int], max_new_tokens: int, budget: int) -> Iterator[IntArray]:
    """Row numbers of each batch, longest first, so that a lack of memory shows at once.

    Args:
        lengths: Tokens of each prompt.
        max_new_tokens: Tokens that each row may grow by.
        budget: Rows times columns of one batch at most; a single row always is one.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        width = lengths[order[start]] + max_new_tokens
        stop = start + max(1, budget // width)
        yield order[start:stop]
        start = stop


def uniforms(prompt: TokenIds, seed: int, count: int) -> NDArray[np.float64]:
    """[count] numbers in [0, 1) for the draws of one answer; they depend on prompt and seed alone."""
    digest = hashlib.blake2b(np.ascontiguousarray(prompt, dtype=np.int32).tobytes(), digest_size=8).digest()
    sequence = np.random.SeedSequence([seed, int.from_bytes(digest, "little")])
    return np.random.Generator(np.random.Philox(sequence)).random(count)


def _check(prompts: Sequence[TokenIds], decoding: Decoding) -> None:
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} is empty; a model needs at least one token to start from.")
        if decoding.context_length is not None and len(prompt) >= decoding.context_length:
            raise ValueError(
                f"prompt {number} has {len(prompt)} tokens and leaves no room for an answer in the model's context of "
                f"{decoding.context_length}; shorten it."
            )


def _halving(model: nn.Module, prompts: Sequence[TokenIds], decoding: Decoding, device: torch.device) -> list[TokenIds]:
    """One batch, halved and tried again where the device runs out of memory."""
    try:
        return _batch(model, prompts, decoding, device)
    except torch.OutOfMemoryError:
        if len(prompts) == 1:
            raise
    # Outside the handler, so that the failed batch's tensors are no longer held by the traceback.
    torch.cuda.empty_cache()
    half = len(prompts) // 2
    return _halving(model, prompts[:half], decoding, device) + _halving(model, prompts[half:], decoding, device)


def _batch(model: nn.Module, prompts: Sequence[TokenIds], decoding: Decoding, device: torch.device) -> list[TokenIds]:
    width = max(len(p) for p in prompts)
    ids = torch.zeros(len(prompts), width, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
        mask[row, width - len(prompt) :] = 1
    room = decoding.context_length or width + decoding.max_new_tokens
    limits = torch.tensor([min(decoding.max_new_tokens, room - len(p)) for p in prompts], device=device)
    draws = None
    if decoding.temperature > 0.0:
        numbers = [uniforms(p, decoding.seed, decoding.max_new_tokens) for p in prompts]
        draws = torch.from_numpy(np.stack(numbers)).to(device if has_float64(device.type) else "cpu")
    ids, mask = ids.to(device), mask.to(device)
    written = torch.zeros(len(prompts), decoding.max_new_tokens, dtype=torch.int64, device=device)
    sizes = torch.zeros(len(prompts), dtype=torch.int64, device=device)
    ends = torch.tensor(sorted(decoding.end_ids), dtype=torch.int64, device=device)
    alive = torch.arange(len(prompts), device=device)
    done = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    accepted = inspect.signature(causal_lm(model).forward).parameters
    cache: Any = None
    tokens, positions = ids, (mask.cumsum(dim=1) - 1).clamp(min=0)
    for step in range(decoding.max_new_tokens):
        extra: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        if "position_ids" in accepted:
            extra["position_ids"] = positions
        output = model(input_ids=tokens, attention_mask=mask, past_key_values=cache, use_cache=True, **extra)
        cache = output.past_key_values
        draw = None if draws is None else draws[alive.to(draws.device), step]
        tokens = _choose(output.logits[:, -1].float(), decoding.temperature, draw)[:, None]
        ended = torch.isin(tokens[:, 0], ends)
        written[alive, step] = tokens[:, 0]
        sizes[alive] += ~(done | ended)
        done = done | ended | (step + 1 >= limits[alive])
        share = float(done.float().mean())
        if share == 1.0:
            break
        # A row that has ended and stays for a while must not leave the table of positions.
        positions = (positions[:, -1:] + 1).clamp(max=(decoding.context_length or _NO_LIMIT) - 1)
        mask = torch.cat((mask, torch.ones_like(tokens)), dim=1)
        if share > _COMPACT_ABOVE and callable(getattr(cache, "batch_select_indices", None)):
            going = (~done).nonzero()[:, 0]
            cache.batch_select_indices(going)
            alive, tokens, mask, positions, done = (t[going] for t in (alive, tokens, mask, positions, done))
    return [w[:n].cpu().numpy().astype(np.int32) for w, n in zip(written, sizes.tolist(), strict=True)]


def _choose(logits: Tensor, temperature: float, draws: Tensor | None) -> Tensor:
    """The next token of each row [B] from its logits [B, V]: the likeliest, or where the draw [B] falls."""
    if draws is None:
        return logits.argmax(dim=-1)
    cumulative = (to_float64(logits) / temperature).softmax(dim=-1).cumsum(dim=-1)
    # Scaled by the last entry, which rounding may have left a little off one.
    wanted = draws.to(cumulative.device) * cumulative[:, -1]
    found = torch.searchsorted(cumulative, wanted[:, None], right=True)
    return found[:, 0].clamp(max=logits.shape[-1] - 1).to(logits.device)


class GenerativeMixin:
    """Adds :meth:`generate` of :class:`~lit_curriculum.types.GenerativeModel` to a module that holds ``model``."""

    model: nn.Module | None

    def generate(
        self, prompts: Sequence[TokenIds], /, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[TokenIds]:
        """The new tokens of each prompt [L], without the prompt and without the end token.

        An answer ends with an end token of the model, with what closes an assistant's turn in the chat template of
        the data in use, or where the context does.

        Args:
            prompts: Token ids of each prompt, ending where the answer starts.
            max_new_tokens: Tokens at most of one answer.
            temperature: 0 takes the most likely token each time; above, answers are drawn.
            seed: What the draw of an answer depends on, beside its prompt: not on batch, order or rank.

        Raises:
            ValueError: a prompt is empty or fills the context, or an option is out of range.
        """
        assert self.model is not None, "configure_model has not been called"
        decoding = Decoding(
            max_new_tokens=max_new_tokens,
            end_ids=end_ids(self.model, self._data_tokenizer()),
            temperature=temperature,
            seed=seed,
            context_length=getattr(self, "context_length", None),
        )
        return generate_tokens(self.model, prompts, decoding)

    def _data_tokenizer(self) -> Any:
        return None


def end_ids(model: nn.Module, tokenizer: PreTrainedTokenizerBase | None = None) -> frozenset[int]:
    """Tokens that end an answer: those of the model's configurations, the tokenizer's own, and its turn's end.

    Args:
        model: A Hugging Face causal language model, or one wrapped for LoRA.
        tokenizer: With the chat template in use; none where it is not known.
    """
    found: set[int] = set()
    for config in (getattr(model, "generation_config", None), getattr(model, "config", None)):
        value = getattr(config, "eos_token_id", None)
        found |= set(value) if isinstance(value, (list, tuple)) else set() if value is None else {int(value)}
    if tokenizer is not None:
        if tokenizer.eos_token_id is not None:
            found.add(int(tokenizer.eos_token_id))
        found |= _turn_end(tokenizer)
    return frozenset(found)


def _turn_end(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The one token that closes an assistant's turn; none where the template closes it with plain text."""
    if not tokenizer.chat_template:
        return set()
    turns = [*_QUESTION, {"role": "assistant", "content": _REPLY}]
    text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    closing = text.rpartition(_REPLY)[2].strip()
    ids = tokenizer(closing, add_special_tokens=False)["input_ids"] if closing else []
    return {int(ids[0])} if len(ids) == 1 else set()
