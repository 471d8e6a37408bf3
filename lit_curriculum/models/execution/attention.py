"""Causal attention without a mask, in the place of transformers' own while a decoder runs.

Rows are padded at their ends, and what comes later is not seen: causality alone keeps padding out. transformers makes
a mask all the same where it compiles, and looks into the batch first where it does not, which waits for the device;
attention with a mask is slower, and the mask of B rows of L tokens takes B * L * L bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from lit_curriculum.types import Batch

_WHOLE_ROWS = {"full_attention", "sliding_attention"}
_NAME = "lit_curriculum_causal"


def attends_plainly(decoder: nn.Module) -> bool:
    """Whether all layers of a decoder are ``sdpa`` attention to what comes before, or to a window of it."""
    config: Any = getattr(decoder, "config", None)
    plain = set(getattr(config, "layer_types", None) or ()) <= _WHOLE_ROWS
    return bool(plain and getattr(config, "_attn_implementation", None) == "sdpa")


def run_padded_rows(decoder: nn.Module, batch: Batch, run: Callable[..., Any] | None = None) -> Any:
    """Run the decoder on padded rows [B, L], without a mask.

    Args:
        decoder: A Hugging Face decoder.
        batch: B rows of L tokens, padded at their ends.
        run: Called in its place with the decoder and the keyword arguments for it.
    """
    inputs = {"input_ids": batch.input_ids, "attention_mask": None, "use_cache": False}
    # Layers that are run again in the backward pass would find the decoder's own attention, and no window.
    again = torch.is_grad_enabled() and _checkpoints(decoder)
    with nullcontext() if again or not attends_plainly(decoder) else attention_by(decoder, _NAME, _attend):
        return decoder(**inputs) if run is None else run(decoder, **inputs)


def _checkpoints(decoder: nn.Module) -> bool:
    # Newer transformers have another name for it, and warn under the old one.
    found = getattr(decoder, "is_activation_checkpointing", None)
    return bool(getattr(decoder, "is_gradient_checkpointing", False) if found is None else found)


@contextmanager
def attention_by(decoder: nn.Module, name: str, attend: Callable[..., tuple[Tensor, None]]) -> Iterator[None]:
    """Replace the decoder's attention by ``attend``, under a name for which transformers makes no mask."""
    _register(name, attend)
    config: Any = decoder.config
    usual = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = usual


@cache
def _register(name: str, attend: Callable[..., tuple[Tensor, None]]) -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(name, attend)


def causal_attention(
    module: nn.Module, states: tuple[Tensor, Tensor, Tensor] | list[Tensor], window: int | None, others: dict[str, Any]
) -> Tensor:
    """Attention [rows, L, heads, D] of queries, keys and values [rows, heads, L, D].

    Args:
        module: The layer's attention module.
        states: Queries, keys and values.
        window: Tokens that are seen, the present one included; none for all that came before.
        others: Whatever a model hands to transformers' own function.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    query, key, value = states
    length = query.shape[2]
    mask = None
    if window is not None and length > window:
        places = torch.arange(length, device=query.device)
        distance = places[:, None] - places
        mask = ((distance >= 0) & (distance < window))[None, None]
    output: Tensor = sdpa_attention_forward(module, query, key, value, mask, **others)[0]
    return output


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    del attention_mask
    return causal_attention(module, (query, key, value), sliding_window, others), None
