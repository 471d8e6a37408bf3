"""A decoder compiled by ``torch.compile`` as one graph for batches of any shape, beside the decoder as it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lit_curriculum.models.execution.attention import run_padded_rows
from lit_curriculum.types import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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
