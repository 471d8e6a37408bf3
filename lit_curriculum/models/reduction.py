"""From losses of tokens to those of examples, and from these to the loss of a batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lit_curriculum.types import Batch, TokenNLL

LossReduction = Literal["example", "token"]
Weighting = Literal["relative", "absolute"]


def example_sums(batch: Batch, tokens: TokenNLL) -> dict[str, Tensor]:
    """Per example [B]: index, summed loss in nats, number of scored tokens, whether all of them are hits."""
    # Scattering back into rows and summing those is deterministic on a GPU, where adding at an index is not.
    scored = batch.scored
    losses = torch.zeros(scored.shape, dtype=tokens.nll.dtype, device=scored.device)
    num_scored = scored.sum(dim=1)
    return {
        "index": batch.index,
        "nll_sum": losses.masked_scatter(scored, tokens.nll).sum(dim=1),
        "num_scored": num_scored,
        "exact": (~scored).masked_scatter(scored, tokens.hit).all(dim=1) & (num_scored > 0),
    }


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
    """The denominator [], or next to nothing in place of zero: the loss of no scored token is zero, not NaN."""
    return denominator.clamp(min=torch.finfo(denominator.dtype).tiny)
