"""The scoring net: linear, or with one hidden layer, on the processor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn


class ScoringNet(nn.Module):
    """One number for a vector.

    Args:
        width: D, length of the vector.
        hidden: Units of the hidden layer; 0 is a linear net.
        generator: Draws the first weights of a hidden layer; the output starts at zero, so that all score the same.
    """

    def __init__(self, width: int, hidden: int, generator: np.random.Generator) -> None:
        super().__init__()
        self.width = width
        self.inner: nn.Linear | None = None
        if hidden:
            self.inner = _zero_linear(width, hidden)
            drawn = generator.standard_normal((hidden, width)) / np.sqrt(width)
            self.inner.weight.data = torch.from_numpy(drawn).to(torch.float32)
        self.outer = _zero_linear(hidden or width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Scores [K] of ``features`` [K, D]."""
        inner = features if self.inner is None else torch.tanh(self.inner(features))
        scores: Tensor = self.outer(inner).squeeze(1)
        return scores


def train_net(
    net: ScoringNet,
    loss: Callable[[torch.Tensor], Tensor],
    num_rows: int,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    generator: np.random.Generator,
) -> float:
    """Take ``steps`` Adam steps on batches drawn without repeats from pass to pass; returns the mean of the losses.

    Args:
        net: Trained in place.
        loss: From rows [B] of the training set to a scalar.
        num_rows: Size of the training set.
        steps: Number of optimizer steps.
        batch_size: Rows at most of one step.
        learning_rate: Of Adam.
        weight_decay: Decoupled, per step and unit of learning rate.
        generator: Draws the order.
    """
    optimizer = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=weight_decay)
    total, order = 0.0, np.empty(0, dtype=np.int64)
    size = min(batch_size, num_rows)
    with torch.enable_grad():
        for _ in range(steps):
            if len(order) < size:
                order = generator.permutation(num_rows)
            value = loss(torch.from_numpy(order[:size]))
            order = order[size:]
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(value.detach())
    return total / steps


def _zero_linear(width: int, height: int) -> nn.Linear:
    # Built without weights: the usual start would draw them from the global random state.
    layer = nn.Linear(width, height, device="meta").to_empty(device="cpu")
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
