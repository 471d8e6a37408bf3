"""Features of the data's own answers, of which none is run through the model twice in one refresh."""

from __future__ import annotations

import torch
from torch import Tensor

from lit_curriculum.difficulty.learned.answers import reference
from lit_curriculum.difficulty.learned.features import ScorerFeatures
from lit_curriculum.difficulty.stateful import UpdateContext
from lit_curriculum.types import IntArray


class ReferenceFeatures:
    """Features of reference answers under the model of one refresh.

    Args:
        features: What makes them.
        max_tokens: References are cut there; none leaves them whole.
    """

    def __init__(self, features: ScorerFeatures, max_tokens: int | None = None) -> None:
        self.features, self.max_tokens = features, max_tokens
        self.forward_tokens = 0
        """Tokens run through the model so far."""
        self._kept: dict[int, Tensor] = {}

    def of(self, context: UpdateContext, indices: IntArray, keep: bool = True) -> Tensor:
        """Features [K, D] of ``indices`` [K].

        Args:
            context: The refresh.
            indices: [K] which examples.
            keep: Hold on to those that cost a pass of the model, for the next call.
        """
        if not len(indices):
            return torch.zeros(0, 1)
        wanted = [int(i) for i in indices]
        if not self.features.model_methods:
            return self._extract(context, wanted)
        new = list(dict.fromkeys(i for i in wanted if i not in self._kept))
        found = self._kept | (dict(zip(new, self._extract(context, new), strict=True)) if new else {})
        if keep:
            self._kept = found
        return torch.stack([found[i] for i in wanted])

    def _extract(self, context: UpdateContext, indices: list[int]) -> Tensor:
        answers = [reference(context.store, i, self.max_tokens) for i in indices]
        self.forward_tokens += self.features.forward_tokens(answers)
        return self.features.extract(answers, context.model, context.device)
