"""The loop without a trainer: score, step the policy, and hand the plan of the next stage to the sampler."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.curriculum.base import CurriculumPolicy, StageReasons, stage_reasons
from lit_curriculum.data.sampler import CurriculumSampler
from lit_curriculum.difficulty.base import DifficultyMetric, TextMetric
from lit_curriculum.difficulty.engine import Autocast, Scores, formula_ids
from lit_curriculum.difficulty.learned import LearnedMetric, UpdateCost
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.difficulty.training_losses import TrainingLossCollector, check_training_loss_metric
from lit_curriculum.types import CONDITIONED, ExampleStore, FloatArray, IntArray, Plan, ability_names, make_generator

_VERSION = 1
Score = Callable[[IntArray, int], Scores]
"""Scores examples [K] with the model before a stage: called with (indices, stage)."""
Update = Callable[[str, LearnedMetric, int, np.random.Generator], tuple[FloatArray, UpdateCost]]
"""Updates a learned metric before a stage, then scores all N examples: called with (name, metric, stage, generator)."""


@dataclass(frozen=True, kw_only=True)
class StageReport:
    """What was decided for a stage, and what the decision cost; the record that all observers read.

    Derived facts are computed at their first use and kept, so that observers share them.
    """

    stage: int
    plan: Plan
    previous: Plan | None
    """The plan of the stage before, or none before stage 0."""
    store: ExampleStore
    """All N examples."""
    policy: CurriculumPolicy
    """The policy that decided; read-only for observers."""
    metrics: Mapping[str, DifficultyMetric]
    formulas: Mapping[str, str]
    """Formula id of every metric, with the arithmetic of scoring."""
    table: DifficultyTable
    """The live table, read-only for observers; copy what you keep."""
    candidates: IntArray
    """[K] indices that were scored with the model for this decision."""
    scoring_seconds: float
    selecting_seconds: float
    scored_tokens: int
    learning: UpdateCost = field(default_factory=UpdateCost)
    """Total cost of the updates of learned metrics, and the scalars that they log."""

    @cached_property
    def times(self) -> NDArray[np.int32]:
        """[N] entries of each example in the plan."""
        return np.bincount(self.plan.indices, minlength=len(self.store)).astype(np.int32)

    @cached_property
    def distinct(self) -> IntArray:
        """[K] indices of the distinct examples of the plan, rising."""
        return np.flatnonzero(self.times)

    @cached_property
    def overlap(self) -> float:
        """Share of the distinct examples that the stage before trained on too; NaN at stage 0."""
        if self.previous is None:
            return float("nan")
        return int(np.isin(self.distinct, self.previous.indices).sum()) / len(self.distinct)

    @cached_property
    def tokens(self) -> int:
        """Tokens of the plan's entries, padding left out."""
        return int(self.store.lengths(CONDITIONED)[self.plan.indices].sum())

    @cached_property
    def ability_shares(self) -> dict[str, float]:
        """Share of each ability among the plan's entries."""
        names, counts = np.unique(ability_names(self.store, self.plan.indices), return_counts=True)
        return {name: count / len(self.plan) for name, count in zip(names.tolist(), counts.tolist(), strict=True)}

    @cached_property
    def reasons(self) -> StageReasons:
        """The reason for or against each example; ask before the policy steps again."""
        return stage_reasons(self.policy, self.table, self.plan)

    @property
    def scalars(self) -> dict[str, float]:
        """What policy and learned metrics report about the stage, by name."""
        return {**self.plan.scalars, **self.learning.scalars}

    @property
    def refresh_seconds(self) -> float:
        """Seconds of scoring, selecting and updating learned metrics."""
        return self.scoring_seconds + self.selecting_seconds + self.learning.seconds


class StagePlanner:
    """Plans a curriculum stage by stage.

    Args:
        policy: Decides what a stage trains on.
        metrics: Difficulty metrics by name.
        seed: Seed of all random draws of policy and metrics.
        training_loss_metric: Name of the mean-loss metric that takes the losses of training, or none.
        autocast: Precision in which the model's scores are computed; it is part of their formula ids.

    Raises:
        ValueError: policy or metric requires a metric that is missing.

    Example::

        planner = StagePlanner(policy, {"loss": NegativeLogLikelihood()})
        planner.setup(store, num_stages=3, sampler=sampler)
        planner.score_texts()
        for stage in range(3):
            planner.plan(stage, lambda indices, stage: engine.score(model, store, indices))
            train_one_epoch(model, loader)  # the loader reads the sampler
    """

    def __init__(
        self,
        policy: CurriculumPolicy,
        metrics: Mapping[str, DifficultyMetric] | None = None,
        seed: int = 0,
        training_loss_metric: str | None = None,
        autocast: Autocast = "none",
    ) -> None:
        self.policy, self.metrics, self.seed, self.autocast = policy, dict(metrics or {}), seed, autocast
        self.training_loss_metric, self.training_losses = training_loss_metric, TrainingLossCollector()
        if training_loss_metric is not None:
            check_training_loss_metric(training_loss_metric, self.metrics)
        self._learned = {name: m for name, m in self.metrics.items() if isinstance(m, LearnedMetric)}
        self._check_required(f"curriculum.policy {type(policy).__name__}", policy.required_metrics)
        for name, metric in self._learned.items():
            self._check_required(f"curriculum.metrics.{name}", metric.required_metrics)
        # An update that is interrupted is repeated from these states, and a checkpoint never holds half of one.
        self._learned_states = {name: metric.state_dict() for name, metric in self._learned.items()}
        self.table = DifficultyTable(0, [])
        self.stage = -1
        """The stage whose plan is in force; -1 before the first is planned."""

    @property
    def formulas(self) -> dict[str, str]:
        """Formula id of every metric, with the arithmetic of scoring."""
        return formula_ids(self.metrics, self.autocast)

    def setup(self, store: ExampleStore, num_stages: int, sampler: CurriculumSampler | None = None) -> None:
        """Set up the policy and an empty table.

        Args:
            store: N examples.
            num_stages: Stages of the run at most.
            sampler: Takes every plan; by default one for a single process and batches of one example.

        Raises:
            ValueError: an option of the policy does not fit the data.
        """
        self.store, self.num_stages = store, num_stages
        # Not ``or``: a sampler that still waits for its first plan has no length.
        if sampler is None:
            sampler = CurriculumSampler(len(store), num_replicas=1, rank=0, batch_size=1)
        self.sampler = sampler
        self.policy.setup(store, num_stages)
        directions = {name: metric.higher_is_harder for name, metric in self.metrics.items()}
        self.table = DifficultyTable(len(store), list(self.metrics), directions)
        self.stage = -1
        self.sampler.expect_plan()

    def num_steps(self, accumulate: int = 1, max_steps: int = -1) -> int:
        """Optimizer steps of the whole run, known before the first of them.

        Args:
            accumulate: Batches per optimizer step.
            max_steps: Steps after which the run is stopped in any case; -1 for no limit.
        """
        sizes = self.policy.stage_sizes(len(self.store), self.num_stages)
        steps = sum(stage_steps(size, self.sampler.batch_size, accumulate) for size in sizes)
        return steps if max_steps < 0 else min(steps, max_steps)

    def score_texts(self) -> None:
        """Score all examples with the text metrics that have no score in the table yet."""
        for name, metric in self.metrics.items():
            if isinstance(metric, TextMetric) and self.table.never_scored(name).all():
                self.table.enter(name, np.arange(len(self.store)), metric.score(self.store), stage=0)

    def finished(self, stage: int) -> bool:
        """Whether the run ends before ``stage``, since the policy has nothing left to train on."""
        return stage > 0 and self.policy.finished(stage)

    def plan(self, stage: int, score: Score | None = None, update: Update | None = None) -> StageReport:
        """Score what the policy asks for, step it, and put the plan of ``stage`` in force.

        Args:
            stage: The stage that comes next.
            score: Scores the candidates with the model; none to plan from the scores in the table alone.
            update: Updates the learned metrics that are due and scores with them; none to leave them as they are.
        """
        if self.training_loss_metric is not None:
            self.training_losses.enter(self.table, self.training_loss_metric, stage - 1)
        candidates = self._candidates(stage)
        scores = score(candidates, stage) if score is not None and len(candidates) else Scores(values={})
        for name, values in scores.values.items():
            self.table.enter(name, candidates, values, stage)
        costs = {} if update is None else self._update(stage, update)
        started = time.perf_counter()
        plan = self.policy.step(self.table, stage, make_generator(self.seed, stage, "policy"))
        previous = self.sampler.plan
        self.sampler.set_plan(plan, stage)
        self.stage = stage
        self._learned_states = {name: metric.state_dict() for name, metric in self._learned.items()}
        return StageReport(
            stage=stage, plan=plan, previous=previous, store=self.store, policy=self.policy, metrics=self.metrics,
            formulas=self.formulas, table=self.table, candidates=candidates, scoring_seconds=scores.seconds,
            scored_tokens=scores.tokens, selecting_seconds=time.perf_counter() - started,
            learning=UpdateCost.total(costs),
        )  # fmt: skip

    def _candidates(self, stage: int) -> IntArray:
        """[K] indices that the policy asks for, and after them those that learned metrics add."""
        found = self.policy.candidates(self.table, stage)
        for name, metric in self._learned.items():
            generator = make_generator(self.seed, stage, f"{name} wanted")
            more = metric.extra_candidates(found, len(self.store), stage, generator)
            found = np.concatenate([found, np.setdiff1d(more, found)])
        return found

    def _update(self, stage: int, update: Update) -> dict[str, UpdateCost]:
        costs = {}
        for name, metric in self._learned.items():
            if metric.is_due(stage):
                metric.load_state_dict(self._learned_states[name])
                values, costs[name] = update(name, metric, stage, make_generator(self.seed, stage, name))
                self.table.enter(name, np.arange(len(self.store)), values, stage)
        return costs

    def _check_required(self, owner: str, required: Sequence[str]) -> None:
        for name in sorted(set(required) - set(self.metrics)):
            raise ValueError(
                f"{owner} reads the metric {name!r}, but curriculum.metrics has {sorted(self.metrics) or 'none'}; "
                "add it there under that name."
            )

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next stages depend on, beside options and data."""
        return {
            "version": _VERSION,
            "stage": self.stage,
            "sampler": self.sampler.state_dict(),
            "table": self.table.state_dict(),
            "policy": self.policy.state_dict(),
            "free": self.training_losses.state_dict(),
            "stateful": dict(self._learned_states),
        }

    def load_state_dict(self, state: Mapping[str, Any], start: int = 0) -> None:
        """Restore :meth:`state_dict`; call :meth:`setup` first.

        Args:
            state: The state.
            start: Rows of the plan in force that have been trained on.

        Raises:
            ValueError: the state is of another version or does not fit the options or the data.
        """
        if state["version"] != _VERSION:
            raise ValueError(f"curriculum state of version {state['version']} cannot be read; expected {_VERSION}.")
        self.table.load_state_dict(state["table"])
        self.policy.load_state_dict(state["policy"])
        self.training_losses.load_state_dict(state["free"])
        for name, metric in self._learned.items():
            metric.load_state_dict(state["stateful"][name])
        self._learned_states = {name: metric.state_dict() for name, metric in self._learned.items()}
        self.sampler.load_state_dict(state["sampler"], start)
        self.stage = state["stage"]


def stage_steps(size: int, batch_size: int, accumulate: int = 1) -> int:
    """Optimizer steps of a stage of ``size`` examples; an incomplete last group of batches makes a step too.

    Args:
        size: Examples of the stage.
        batch_size: Global batch, in examples.
        accumulate: Batches per optimizer step.
    """
    num_batches = -(-size // batch_size)
    return -(-num_batches // accumulate)
