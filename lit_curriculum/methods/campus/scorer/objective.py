"""Net, training set and objectives of the learned scorer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lit_curriculum.difficulty.learned import UpdateContext
from lit_curriculum.methods.campus.scorer.features import ScorerFeatures, reference
from lit_curriculum.types import IntArray
from lit_curriculum.utils.options import Configured

BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 256, 0.02, 0.01
"""Of the net's AdamW steps."""


class ScoringNet(nn.Module):
    """Linear net, or one with a hidden layer, from a vector to a score.

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
    steps: int,
    generator: np.random.Generator,
) -> float:
    """Take AdamW steps on batches drawn without repeats from pass to pass; returns the mean of the losses.

    Args:
        net: Trained in place.
        loss: From rows [B] of the training set to a scalar.
        num_rows: Size of the training set.
        steps: Number of optimizer steps.
        generator: Draws the order.
    """
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    total, order = 0.0, np.empty(0, dtype=np.int64)
    size = min(BATCH_SIZE, num_rows)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """The training set of one update."""

    indices: IntArray
    """[K] examples it is about."""
    features: Tensor
    """[K, D] of the reference answers."""
    targets: Tensor
    """[K] of the learner's losses, or [K, D] of its answers."""
    generated_tokens: int = 0
    forward_tokens: int = 0
    """Tokens run through the model beside those of the references' features."""


class ScorerObjective(Configured, ABC):
    """One way to train a scorer against the learner."""

    option_path: ClassVar[str] = "objective"

    model_methods: ClassVar[tuple[str, ...]] = ()
    """Methods that the model has to offer."""
    needs_answers: ClassVar[bool] = False
    """Whether features of the model's own answers are needed."""
    max_reference_tokens: int | None = None
    """Where reference answers are cut, in learning and in scoring alike; none leaves them whole."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name and options, as in the formula of the metric."""

    def extra_candidates(self, asked: IntArray, num_examples: int, generator: np.random.Generator) -> IntArray:
        """[K] indices whose loss has to be fresh, beside those ``asked`` for; none by default."""
        del asked, num_examples, generator
        return np.empty(0, dtype=np.int64)

    @abstractmethod
    def collect(
        self, context: UpdateContext, references: ReferenceFeatures, fresh: IntArray, loss: str
    ) -> Lesson | None:
        """The training set, from examples with a ``fresh`` loss or from answers; none where there is nothing."""

    @abstractmethod
    def loss(self, net: ScoringNet, lesson: Lesson, rows: Tensor) -> Tensor:
        """What the net minimises on ``rows`` [B] of the lesson."""

    def conclude(self, net: ScoringNet, lesson: Lesson) -> None:
        """Keep what :meth:`difficulty` needs of the lesson; nothing by default."""
        del net, lesson

    @abstractmethod
    def difficulty(self, net: ScoringNet, features: Tensor, indices: IntArray) -> Tensor:
        """Difficulty [K], higher is harder, of ``indices`` [K] whose references have ``features`` [K, D]."""

    def state_dict(self) -> dict[str, Tensor]:
        """What was kept by :meth:`conclude`."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore :meth:`state_dict`."""
        del state
