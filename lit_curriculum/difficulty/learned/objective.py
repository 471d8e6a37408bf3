"""What a learned scorer learns: where its training set comes from, its loss, and how scores become a difficulty."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from lit_curriculum.difficulty.learned.net import ScoringNet
from lit_curriculum.difficulty.learned.references import ReferenceFeatures
from lit_curriculum.difficulty.stateful import UpdateContext
from lit_curriculum.types import IntArray


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


class ScorerObjective(ABC):
    """One way to train a scorer against the learner."""

    model_methods: ClassVar[tuple[str, ...]] = ()
    """Methods that the model has to offer."""
    needs_answers: ClassVar[bool] = False
    """Whether features of the model's own answers are needed."""
    max_reference_tokens: int | None = None
    """Where reference answers are cut, in learning and in scoring alike; none leaves them whole."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name and options, as they stand in the formula of the metric."""

    def wanted(self, asked: IntArray, num_examples: int, generator: np.random.Generator) -> IntArray:
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
