"""Metrics with parameters of their own, which follow the model in training by being updated before they score."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.difficulty.runner import Progress
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import ExampleStore, FloatArray, IntArray, LanguageModel


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateContext:
    """All that an update may depend on, beside the metric's own state."""

    model: LanguageModel
    """The model in training, in evaluation mode and without gradients."""
    device: torch.device
    """Where the model's batches go."""
    store: ExampleStore
    table: DifficultyTable
    """Holds the fresh scores of the columns that the metric reads; only read."""
    stage: int
    generator: np.random.Generator
    """The only source of chance; it depends on the run's seed, the stage and the metric's name."""
    progress: Progress | None = None
    """Told (done, in all) of what asks the model for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateCost:
    """What an update and the scores after it cost, and what it wants to see logged."""

    seconds: float = 0.0
    generated_tokens: int = 0
    """Tokens that the model answered with."""
    forward_tokens: int = 0
    """Tokens that were run through the model beside those answers: prompts, and what hidden states were taken of."""
    scalars: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def total(cls, costs: Mapping[str, UpdateCost]) -> UpdateCost:
        """The sum of the costs of several metrics, by name; scalars and costs of each are named after it."""
        scalars: dict[str, float] = {}
        for name, cost in costs.items():
            tokens = {"generated_tokens": cost.generated_tokens, "forward_tokens": cost.forward_tokens}
            own = {**cost.scalars, "seconds": cost.seconds, **{key: float(n) for key, n in tokens.items()}}
            scalars |= {f"{name}/{key}": value for key, value in own.items()}
        return cls(
            seconds=sum(cost.seconds for cost in costs.values()),
            generated_tokens=sum(cost.generated_tokens for cost in costs.values()),
            forward_tokens=sum(cost.forward_tokens for cost in costs.values()),
            scalars=scalars,
        )


class TimedScores(NamedTuple):
    """Scores and what they cost."""

    values: FloatArray
    """[K], NaN where an example cannot be scored."""
    seconds: float
    forward_tokens: int


class LearnedMetric(DifficultyMetric):
    """A metric that is updated at a refresh, after the model's losses have entered the table, and then scores.

    An update is a function of state, weights, table, seed and stage. So a refresh that was killed and is made
    again gives the same scores, and a rank needs no word from another. A learned metric scores every example at once.
    """

    needs_run: ClassVar[bool] = True
    """Whether scores depend on the run so far; false where weights and data alone decide on them."""

    @property
    def required_metrics(self) -> tuple[str, ...]:
        """Names of the columns that an update reads."""
        return ()

    def extra_candidates(
        self, asked: IntArray, num_examples: int, stage: int, generator: np.random.Generator
    ) -> IntArray:
        """[K] indices whose scores an update wants fresh, beside those that the policy ``asked`` for."""
        del asked, num_examples, stage, generator
        return np.empty(0, dtype=np.int64)

    @abstractmethod
    def is_due(self, stage: int) -> bool:
        """Whether the metric is updated before ``stage``; it scores then, and at no other time."""

    @abstractmethod
    def update(self, context: UpdateContext) -> UpdateCost:
        """Learn from the table or the model; every rank calls it."""

    @abstractmethod
    def score(self, context: UpdateContext, indices: IntArray) -> FloatArray:
        """Scores [K] of the examples ``indices`` [K]; NaN marks one that cannot be scored."""

    def timed_score(self, context: UpdateContext, indices: IntArray) -> TimedScores:
        """Scores [K] of ``indices`` [K] and their cost; to be overridden where :meth:`score` runs the model."""
        started = time.perf_counter()
        values = self.score(context, indices)
        return TimedScores(values, time.perf_counter() - started, forward_tokens=0)

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The parameters as tensors, copied, so that a checkpoint loads with ``weights_only``."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
