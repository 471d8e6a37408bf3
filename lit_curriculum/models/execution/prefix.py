"""What all rows of a batch begin with is run once: chat templates start every conversation with the same words."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lit_curriculum.types import Batch

SHORTEST = 8
"""Tokens that rows must have in common for a separate pass over them to pay."""


def shared_prefix(batch: Batch) -> int:
    """Number of tokens that all rows begin with and that come before the last position ahead of any scored token.

    The hidden state that predicts a row's first scored token is never part of it.
    """
    batch = batch.cpu_copy
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
