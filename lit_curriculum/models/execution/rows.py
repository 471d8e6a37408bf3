"""Rows without padding on a CPU: each length runs as a separate batch, after a prefix that all rows share."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lit_curriculum.models.execution.attention import attends_plainly, attention_by, causal_attention
from lit_curriculum.types import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NAME = "lit_curriculum_rows"
Runs = list[tuple[int, int]]
"""Number of rows and tokens of each, for every run of rows of one length."""
SHORTEST = 8
"""Tokens that rows must have in common for a separate pass over them to pay."""


def hidden_by_rows(decoder: nn.Module, batch: Batch) -> Tensor:
    """Hidden states [B, L, H] of the decoder at the positions that predict a scored token or come before one.

    Padding and what follows the last predicting position of a row are not run, and neither are the repeats of a
    beginning that all rows share; all these are zero in the answer.

    Args:
        decoder: A Hugging Face decoder for which :func:`rows_are_exact` is true.
        batch: B rows of L tokens.
    """
    # Rows with dropout draw for themselves.
    prefix = 0 if len(batch) == 1 or _drops_out(decoder) else shared_prefix(batch)
    prefix = prefix if prefix >= SHORTEST else 0
    columns = torch.arange(batch.input_ids.shape[1], device=batch.input_ids.device)
    # One position at least, so that a batch without scored tokens still makes a pass.
    ends = (batch.scored * columns).amax(dim=1).clamp(min=prefix + 1)
    order = torch.argsort(ends, descending=True, stable=True)
    lengths = (ends[order] - prefix).tolist()
    real = (columns >= prefix) & (columns < ends[order][:, None])
    place, column = real.nonzero(as_tuple=True)
    row = order[place]
    ids = torch.cat((batch.input_ids[0, :prefix], batch.input_ids[row, column]))
    positions = torch.cat((columns[:prefix], column))
    runs = [(len(list(same)), length) for length, same in groupby(lengths)]
    with attention_by(decoder, _NAME, _attend):
        output = decoder(
            input_ids=ids[None], position_ids=positions[None], use_cache=False, row_runs=runs, prefix_length=prefix
        )
    found: Tensor = output.last_hidden_state[0, prefix:]
    return found.new_zeros(*batch.input_ids.shape, found.shape[-1]).index_put((row, column), found)


def rows_are_exact(lm: PreTrainedModel, seed: int = 0) -> bool:
    """Whether :func:`hidden_by_rows` gives the hidden states of padded rows with this model, tried on random rows.

    Args:
        lm: The model, whose train/eval flags stay as they are.
        seed: Of the random tokens.
    """
    decoder: nn.Module = lm.get_decoder()  # type: ignore[no-untyped-call]
    if lm.device.type != "cpu" or not attends_plainly(decoder):
        return False
    vocabulary: int = lm.config.get_text_config().vocab_size
    length = SHORTEST + 8
    ids = torch.randint(vocabulary, (3, length), generator=torch.Generator().manual_seed(seed), device="cpu")
    ids[:, :SHORTEST] = ids[0, :SHORTEST].clone()
    mask = (torch.arange(length) < torch.tensor([length, length - 3, length])[:, None]).long()
    scored = mask.bool() & (torch.arange(length) > SHORTEST)
    batch = Batch(ids, mask, scored, torch.arange(3), torch.ones(3))
    training = {module: module.training for module in lm.modules()}
    lm.eval()  # type: ignore[no-untyped-call]
    try:
        with torch.no_grad():
            found = hidden_by_rows(decoder, batch)
            expected = decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    except TypeError:
        return False  # its layers take no further arguments
    finally:
        for module, flag in training.items():
            module.training = flag
    run = scored.roll(-1, dims=1) & mask.bool()
    difference = (found - expected)[run].float().abs().max()
    tolerance = 1e-3 if lm.dtype == torch.float32 else 0.1
    return bool(difference <= tolerance * expected.float().abs().max())


def _drops_out(decoder: nn.Module) -> bool:
    config: Any = decoder.config
    in_attention: float = getattr(config, "attention_dropout", 0.0)
    return decoder.training and (
        in_attention > 0.0 or any(isinstance(module, nn.Dropout) and module.p > 0.0 for module in decoder.modules())
    )


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    row_runs: Runs,
    prefix_length: int,
    sliding_window: int | None = None,
    **others: Any,  # whatever a model hands to transformers' own function
) -> tuple[Tensor, None]:
    """Attention [1, T, heads, D] of states [1, heads, T, D]: the shared beginning, then row after row."""

    del attention_mask
    states = (query[0], key[0], value[0])
    beginning = [s[None, :, :prefix_length] for s in states]
    found = []
    if prefix_length:
        found.append(causal_attention(module, beginning, sliding_window, others)[0])
    start = prefix_length
    for count, length in row_runs:
        rows = [
            s[:, start : start + count * length].view(s.shape[0], count, length, -1).transpose(0, 1) for s in states
        ]
        if prefix_length:
            # The beginning's queries are run again: cheaper than a mask.
            rows = [torch.cat((b.expand(count, -1, -1, -1), r), dim=2) for b, r in zip(beginning, rows, strict=True)]
        found.append(causal_attention(module, rows, sliding_window, others)[:, prefix_length:].flatten(0, 1))
        start += count * length
    return torch.cat(found)[None], None


def shared_prefix(batch: Batch) -> int:
    """Number of tokens that all rows begin with and that come before the last position ahead of any scored token.

    The hidden state that predicts a row's first scored token is never part of it.
    """
    batch = batch.on_cpu
    same = (batch.input_ids == batch.input_ids[:1]).all(dim=0) & ~batch.scored.any(dim=0)
    same &= batch.attention_mask.all(dim=0).bool()
    # Of the leading run of such columns the last one may predict a scored token.
    return max(0, int(same.long().cumprod(dim=0).sum()) - 1)


def hidden_after_prefix(decoder: nn.Module, batch: Batch, length: int) -> Tensor | None:
    """Hidden states [B, L - length - 1, H] behind the first ``length`` tokens, without each row's last column.

    The keys and values of the prefix are computed for one row and given to all. None where the decoder keeps
    anything but the keys and values of plain attention (sliding windows, recurrent states), which this is not proven
    for.

    Args:
        decoder: A Hugging Face decoder; no gradients are wanted.
        batch: B rows of L tokens.
        length: The result of :func:`shared_prefix`.
    """
    from transformers.cache_utils import DynamicCache, DynamicLayer

    prefix = batch.input_ids[:1, :length]
    cache: Any = getattr(decoder(input_ids=prefix, use_cache=True), "past_key_values", None)
    layers: list[Any] = getattr(cache, "layers", [])
    if type(cache) is not DynamicCache or any(type(layer) is not DynamicLayer for layer in layers):
        return None
    for layer in layers:
        # Views without a copy: the layer appends to them by concatenation.
        layer.keys = layer.keys.expand(len(batch), -1, -1, -1)
        layer.values = layer.values.expand(len(batch), -1, -1, -1)
    # The last token of a row predicts nothing here.
    output = decoder(
        input_ids=batch.input_ids[:, length:-1],
        position_ids=torch.arange(length, batch.input_ids.shape[1] - 1, device=prefix.device)[None],
        past_key_values=cache,
        use_cache=True,
    )
    hidden: Tensor = output.last_hidden_state
    return hidden
