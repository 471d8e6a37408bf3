"""The hidden states of a causal language model, pooled over a part of each row."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lit_curriculum.models.token_nll import causal_lm
from lit_curriculum.types import Batch


class PooledHiddenMixin:
    """Adds ``pooled_hidden`` of :class:`~lit_curriculum.types.PooledModel` to a module that holds ``model``."""

    model: nn.Module | None

    @torch.no_grad()
    def pooled_hidden(self, batch: Batch, /, weights: Tensor | None = None) -> Tensor:
        """[B, H] last hidden states of each row in fp32, averaged over its scored positions.

        Args:
            batch: B rows, each with a scored position.
            weights: [B, L] by which positions are averaged instead; they need not sum to one.
        """
        assert self.model is not None, "configure_model has not been called"
        decoder: nn.Module = causal_lm(self.model).get_decoder()  # type: ignore[no-untyped-call]
        output = decoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
        hidden: Tensor = output.last_hidden_state.float()
        share = (batch.scored.float() if weights is None else weights.float())[..., None]
        return (hidden * share).sum(dim=1) / share.sum(dim=1)
