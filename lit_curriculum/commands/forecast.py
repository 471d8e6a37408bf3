"""A run of a curriculum without a model: what every stage would hold, and how many tokens would be scored for it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.difficulty.base import DifficultyMetric, ModelMetric, TextMetric
from lit_curriculum.difficulty.batching import UniqueSequences
from lit_curriculum.difficulty.learned import LearnedMetric
from lit_curriculum.difficulty.score_store import StoredScores
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.loop.callback import CurriculumCallback
from lit_curriculum.types import CONDITIONED, ExampleStore, FloatArray, IntArray, Plan, make_generator

_DRIFT = 0.02  # standard deviation of what a made-up score moves from stage to stage, as a share of its range


@dataclass(frozen=True, slots=True, kw_only=True)
class StageForecast:
    """One stage of a run that was made up."""

    plan: Plan
    candidates: IntArray
    """What would be scored for it."""
    tokens_to_score: int
    """Tokens of the distinct sequences of all views that its scores need."""
    positions_to_score: int
    """Those of them whose losses are taken."""
    learned_tokens: int
    """One pass over all examples for every metric with parameters of its own that asks the model at this refresh."""


class Forecast:
    """Plays a curriculum with scores of the text as they are and scores of models made up.

    Args:
        curriculum: Its policy is copied, and left as it was.
        store: The data.
        num_stages: Stages at most.
        stored: Scores of a model that are known; they stay as they are in later stages.
    """

    def __init__(
        self, curriculum: CurriculumCallback, store: ExampleStore, num_stages: int, stored: StoredScores | None = None
    ) -> None:
        self.metrics, self.seed, self.training_loss_metric = (
            curriculum.metrics,
            curriculum.seed,
            curriculum.training_loss_metric,
        )
        self.policy: CurriculumPolicy = copy.deepcopy(curriculum.policy)
        self.store, self.num_stages, self.stored = store, num_stages, stored
        self.made_up = [n for n, m in self.metrics.items() if _of_a_model(m) and not (stored and n in stored.metrics)]
        """Metrics whose scores nobody knows before the run."""
        self._views = sorted({v for m in self.metrics.values() if isinstance(m, ModelMetric) for v in m.views})
        self._work = UniqueSequences.build(store, np.arange(len(store)), self._views) if self._views else None
        generator = make_generator(self.seed, 0, "forecast")
        self._level: FloatArray = generator.uniform(0.1, 0.9, len(store))

    def run(self) -> list[StageForecast]:
        """All stages.

        Raises:
            ValueError: the policy finds nothing to train on, or an option does not fit the data.
        """
        self.policy.setup(self.store, self.num_stages)
        directions = {name: metric.higher_is_harder for name, metric in self.metrics.items()}
        table = DifficultyTable(len(self.store), list(self.metrics), directions)
        everything = np.arange(len(self.store))
        for name, metric in self.metrics.items():
            if not isinstance(metric, (ModelMetric, LearnedMetric)):
                self._enter(table, name, everything, self._scores(name, metric, 0), 0)
        found: list[StageForecast] = []
        for stage in range(self.num_stages):
            if stage > 0 and self.policy.finished(stage):
                break
            if stage > 0 and self.training_loss_metric is not None:
                trained = np.unique(found[-1].plan.indices)
                self._enter(
                    table,
                    self.training_loss_metric,
                    trained,
                    self._drawn(self.training_loss_metric, stage)[trained],
                    stage - 1,
                )
            found.append(self._stage(table, stage))
        return found

    def _stage(self, table: DifficultyTable, stage: int) -> StageForecast:
        everything = np.arange(len(self.store))
        candidates = self.policy.candidates(table, stage)
        learned = 0
        for name, metric in self.metrics.items():
            if isinstance(metric, LearnedMetric):
                generator = make_generator(self.seed, stage, f"{name} wanted")
                more = metric.extra_candidates(candidates, len(self.store), stage, generator)
                candidates = np.concatenate([candidates, np.setdiff1d(more, candidates)])
        for name, metric in self.metrics.items():
            if isinstance(metric, ModelMetric):
                self._enter(table, name, candidates, self._scores(name, metric, stage)[candidates], stage)
            elif isinstance(metric, LearnedMetric) and metric.is_due(stage):
                learned += int(self.store.lengths(CONDITIONED).sum()) if metric.model_methods else 0
                self._enter(table, name, everything, self._scores(name, metric, stage), stage)
        plan = self.policy.step(table, stage, make_generator(self.seed, stage, "policy"))
        tokens, positions = self._cost(candidates)
        return StageForecast(
            plan=plan, candidates=candidates, tokens_to_score=tokens, positions_to_score=positions,
            learned_tokens=learned,
        )  # fmt: skip

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
        """[N] what ``metric`` might say, or has said; NaN where there is no scored token."""
        if self.stored is not None and name in self.stored.metrics:
            return self.stored.values(name)[self.stored.rows(self.store)]
        if isinstance(metric, TextMetric) and name not in self.made_up:
            return metric.score(self.store)
        values = self._drawn(name, stage)
        for view in metric.views if isinstance(metric, ModelMetric) else ():
            values[self.store.num_scored(view) == 0] = np.nan
        return values

    def _drawn(self, name: str, stage: int) -> FloatArray:
        """[N] made-up scores: half what all metrics agree on, half of this one, and a little of the stage."""
        low, high = self.metrics[name].score_range
        own = make_generator(self.seed, 0, f"forecast {name}").uniform(0.1, 0.9, len(self._level))
        moved = make_generator(self.seed, stage, f"forecast {name} drift").normal(0.0, _DRIFT, len(self._level))
        share = np.clip(0.5 * (self._level + own) + moved, 0.01, 0.99)
        values: FloatArray = low + (high - low) * share
        return values

    def _enter(self, table: DifficultyTable, name: str, indices: IntArray, values: FloatArray, stage: int) -> None:
        scored = ~np.isnan(values)
        table.update(name, indices[scored], values[scored], stage)
        table.mark_unscorable(name, indices[~scored], stage)


def _of_a_model(metric: DifficultyMetric) -> bool:
    return not isinstance(metric, TextMetric) or metric.loads_model


def sizes(stages: Sequence[StageForecast]) -> list[int]:
    """Entries of every stage."""
    return [len(stage.plan) for stage in stages]
