"""Simulates a curriculum without a model: what every stage holds, and how many tokens are scored for it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from lit_curriculum.difficulty.base import DifficultyMetric, ModelMetric, TextMetric
from lit_curriculum.difficulty.batching import UniqueSequences
from lit_curriculum.difficulty.engine import Scores
from lit_curriculum.difficulty.learned import LearnedMetric, UpdateCost
from lit_curriculum.difficulty.score_store import StoredScores
from lit_curriculum.loop.planner import StagePlanner
from lit_curriculum.types import CONDITIONED, ExampleStore, FloatArray, IntArray, Plan, make_generator

_DRIFT = 0.02  # standard deviation of the change of a simulated score from stage to stage, as a share of its range


@dataclass(frozen=True, slots=True, kw_only=True)
class StageForecast:
    """One stage of a simulated run."""

    plan: Plan
    candidates: IntArray
    """[K] indices that are scored for it."""
    tokens_to_score: int
    """Tokens of the distinct sequences of all views that its scores need."""
    positions_to_score: int
    """Those of them whose losses are taken."""
    learned_tokens: int
    """One pass over all examples for every learned metric that is due and asks the model."""


class Forecast:
    """Simulates a run: texts are scored, and scores of models are drawn at random where they are not stored.

    Args:
        planner: The planner of the run; its policy is copied and stays as it is.
        store: The data.
        num_stages: Stages at most.
        stored: Known scores of a model; they are the same in all stages.
    """

    def __init__(
        self, planner: StagePlanner, store: ExampleStore, num_stages: int, stored: StoredScores | None = None
    ) -> None:
        self.metrics, self.seed = planner.metrics, planner.seed
        self.planner = StagePlanner(
            copy.deepcopy(planner.policy), planner.metrics, planner.seed, planner.training_loss_metric
        )
        self.store, self.num_stages, self.stored = store, num_stages, stored
        self.simulated = [n for n, m in self.metrics.items() if _of_a_model(m) and not (stored and n in stored.metrics)]
        """Metrics whose scores are unknown before the run."""
        self._views = sorted({v for m in self.metrics.values() if isinstance(m, ModelMetric) for v in m.views})
        self._work = UniqueSequences.build(store, np.arange(len(store)), self._views) if self._views else None
        generator = make_generator(self.seed, 0, "forecast")
        self._level: FloatArray = generator.uniform(0.1, 0.9, len(store))

    def run(self) -> list[StageForecast]:
        """All stages.

        Raises:
            ValueError: the policy finds nothing to train on, or an option does not fit the data.
        """
        planner, everything = self.planner, np.arange(len(self.store))
        planner.setup(self.store, self.num_stages)
        known = [*self.simulated, *(self.stored.metrics if self.stored else ())]
        for name, metric in self.metrics.items():
            if name in known and not isinstance(metric, ModelMetric | LearnedMetric):
                planner.table.enter(name, everything, self._scores(name, metric, 0), 0)
        planner.score_texts()
        found: list[StageForecast] = []
        for stage in range(self.num_stages):
            if planner.finished(stage):
                break
            if stage > 0 and planner.training_loss_metric is not None:
                trained, name = np.unique(found[-1].plan.indices), planner.training_loss_metric
                planner.table.enter(name, trained, self._drawn(name, stage)[trained], stage - 1)
            report = planner.plan(stage, self._score, self._update)
            tokens, positions = self._cost(report.candidates)
            found.append(
                StageForecast(
                    plan=report.plan,
                    candidates=report.candidates,
                    tokens_to_score=tokens,
                    positions_to_score=positions,
                    learned_tokens=report.learning.forward_tokens,
                )
            )
        return found

    def _score(self, indices: IntArray, stage: int) -> Scores:
        of_model = {name: metric for name, metric in self.metrics.items() if isinstance(metric, ModelMetric)}
        return Scores(values={name: self._scores(name, metric, stage)[indices] for name, metric in of_model.items()})

    def _update(
        self, name: str, metric: LearnedMetric, stage: int, generator: np.random.Generator
    ) -> tuple[FloatArray, UpdateCost]:
        del generator
        tokens = int(self.store.lengths(CONDITIONED).sum()) if metric.model_methods else 0
        return self._scores(name, metric, stage), UpdateCost(forward_tokens=tokens)

    def _cost(self, candidates: IntArray) -> tuple[int, int]:
        """Tokens and scored positions of the distinct sequences of ``candidates``, as the scoring engine counts."""
        if self._work is None or not len(candidates):
            return 0, 0
        wanted = np.zeros(len(self._work), np.bool_)
        positions = 0
        for view in self._views:
            rows = candidates[self._work.scorable[view][candidates]]
            wanted[self._work.slots[view][rows]] = True
            positions += int(self.store.num_scored(view)[rows].sum())
        return int(self._work.lengths[wanted].sum()), positions

    def _scores(self, name: str, metric: DifficultyMetric, stage: int) -> FloatArray:
        """[N] stored or simulated scores; NaN where there is no scored token."""
        if self.stored is not None and name in self.stored.metrics:
            return self.stored.values(name)[self.stored.rows(self.store)]
        values = self._drawn(name, stage)
        for view in metric.views if isinstance(metric, ModelMetric) else ():
            values[self.store.num_scored(view) == 0] = np.nan
        return values

    def _drawn(self, name: str, stage: int) -> FloatArray:
        """[N] simulated scores: half common to all metrics, half of this one, and a little of the stage."""
        low, high = self.metrics[name].score_range
        own = make_generator(self.seed, 0, f"forecast {name}").uniform(0.1, 0.9, len(self._level))
        moved = make_generator(self.seed, stage, f"forecast {name} drift").normal(0.0, _DRIFT, len(self._level))
        share = np.clip(0.5 * (self._level + own) + moved, 0.01, 0.99)
        values: FloatArray = low + (high - low) * share
        return values


def _of_a_model(metric: DifficultyMetric) -> bool:
    return not isinstance(metric, TextMetric) or metric.loads_model
