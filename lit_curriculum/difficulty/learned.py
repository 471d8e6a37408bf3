"""Metrics with learned parameters, which are updated during the run before they score."""

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
    """Inputs of an update, besides the metric's state."""

    model: LanguageModel
    """The model in training, in evaluation mode and without gradients."""
    device: torch.device
    """Device of the model's batches."""
    store: ExampleStore
    table: DifficultyTable
    """Current scores of the columns that the metric reads; read-only."""
    stage: int
    generator: np.random.Generator
    """Source of all random draws; it depends on the run's seed, the stage and the metric's name."""
    progress: Progress | None = None
    """Called with (done, total) while the model runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateCost:
    """Cost of an update and of the scores after it, and scalars to log."""

    seconds: float = 0.0
    generated_tokens: int = 0
    """Tokens that the model generated."""
    forward_tokens: int = 0
    """Other tokens that were run through the model: prompts, and sequences whose hidden states were taken."""
    scalars: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def total(cls, costs: Mapping[str, UpdateCost]) -> UpdateCost:
        """The sum over several metrics, by name; scalars hold each metric's own cost under ``name/``."""
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
    """Scores and their cost."""

    values: FloatArray
    """[K], NaN where an example cannot be scored."""
    seconds: float
    forward_tokens: int


class LearnedMetric(DifficultyMetric):
    """A metric that is updated after the model's losses have entered the table, and then scores all examples.

    An update depends on state, weights, table, seed and stage alone. So an interrupted update can be repeated with the
    same result, and all ranks come to the same scores.
    """

    needs_run: ClassVar[bool] = True
    """Whether scores depend on the run so far; false where weights and data alone decide on them."""

    @property
    def required_metrics(self) -> tuple[str, ...]:
        """Names of the metrics that an update reads."""
        return ()

    def extra_candidates(
        self, asked: IntArray, num_examples: int, stage: int, generator: np.random.Generator
    ) -> IntArray:
        """[K] further indices to score before an update, besides those that the policy ``asked`` for."""
        del asked, num_examples, stage, generator
        return np.empty(0, dtype=np.int64)

    @abstractmethod
    def is_due(self, stage: int) -> bool:
        """Whether the metric is updated before ``stage``; it scores then, and only then."""

    @abstractmethod
    def update(self, context: UpdateContext) -> UpdateCost:
        """Update the parameters from the table or the model; called on every rank."""

    @abstractmethod
    def score(self, context: UpdateContext, indices: IntArray) -> FloatArray:
        """Scores [K] of the examples ``indices`` [K]; NaN marks one that cannot be scored."""

    def timed_score(self, context: UpdateContext, indices: IntArray) -> TimedScores:
        """Scores [K] of ``indices`` [K] and their cost; override it where :meth:`score` runs the model."""
        started = time.perf_counter()
        values = self.score(context, indices)
        return TimedScores(values, time.perf_counter() - started, forward_tokens=0)

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Copies of the parameters as tensors, so that a checkpoint loads with ``weights_only``."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""


def refuse_learned(metrics: Mapping[str, DifficultyMetric], command: str) -> None:
    """Refuse metrics that learn from the run that they are part of.

    Raises:
        ValueError: names the first one.
    """
    for name, metric in metrics.items():
        if isinstance(metric, LearnedMetric) and metric.needs_run:
            raise ValueError(
                f"curriculum.metrics.{name} ({type(metric).__name__}) learns while a model is trained, so "
                f"lit-curriculum {command} has no score of it; leave it out of curriculum.metrics, or train with it "
                "(lit-curriculum fit)."
            )
