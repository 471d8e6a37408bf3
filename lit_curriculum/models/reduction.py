"""From losses of examples to the loss of a batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

LossReduction = Literal["example", "token"]
Weighting = Literal["relative", "absolute"]


def reduce_losses(
    nll_sum: Tensor, num_scored: Tensor, weight: Tensor, reduction: LossReduction, weighting: Weighting
) -> tuple[Tensor, Tensor]:
    """Numerator and denominator of the loss of a batch; examples of weight 0 or without a scored token do not count.

    Args:
        nll_sum: [B] summed token losses of each example, in nats.
        num_scored: [B] number of scored tokens.
        weight: [B] weights.
        reduction: Whether examples or tokens are averaged.
        weighting: ``relative``: over the sum of the weights; ``absolute``: over what counts, whatever it weighs, so
            that the gradient is linear in the weights.
    """
    counted = weight if weighting == "relative" else (weight > 0).to(weight.dtype)
    if reduction == "token":
        return (weight * nll_sum).sum(), (counted * num_scored).sum()
    return (weight * nll_sum / num_scored.clamp(min=1)).sum(), (counted * (num_scored > 0)).sum()


def positive(denominator: Tensor) -> Tensor:
    """The denominator, or next to nothing in place of zero: the loss of no scored token is zero, not NaN."""
    return denominator.clamp(min=torch.finfo(denominator.dtype).tiny)
