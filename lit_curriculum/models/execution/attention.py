"""Attention over padded rows, and the compiled decoder that runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lit_curriculum.types import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

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


def hidden_compiled(decoder: nn.Module, batch: Batch) -> Tensor:
    """Hidden states [B, L, H] of the decoder over padded rows.

    The first batch of each kind (with gradients or without, in one arithmetic or another, of one row or of several)
    waits for the compiler, some minutes for a model of thirty layers on one core. The decoder itself is not touched:
    names of weights, generation and gradients of single layers are as without.

    Args:
        decoder: A Hugging Face decoder.
        batch: B rows of L tokens, padded at their ends.
    """
    hidden: Tensor = run_padded_rows(decoder, batch, run=_compiled())
    return hidden


def check_compiled(lm: PreTrainedModel, headless: bool) -> None:
    """Refuse ``model.torch_compile`` where it cannot work, by way of a function of one line that is compiled here.

    Args:
        lm: The model.
        headless: Whether its decoder is run without the output head.

    Raises:
        ValueError: decoder and head are not apart, or there is no compiler.
    """
    if not headless:
        raise ValueError(
            f"model.torch_compile needs decoder and output head apart, which {type(lm).__name__} does not offer here "
            "(or its weights are sharded); set model.torch_compile to false."
        )
    try:
        torch.compile(lambda numbers: numbers.sin() + 1.0)(torch.zeros(2))
    except Exception as error:  # whatever a compiler's absence makes of itself
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"model.torch_compile: this machine compiles nothing ({reason}); install a C++ compiler, or set "
            "model.torch_compile to false."
        ) from error


def _hidden(decoder: nn.Module, **inputs: Any) -> Tensor:
    hidden: Tensor = decoder(**inputs).last_hidden_state
    return hidden


@cache
def _compiled() -> Callable[..., Tensor]:
    # The decoder is an argument, so that a copy of a model does not run the weights that it was copied from.
    return torch.compile(_hidden, dynamic=True)
