"""What the curriculum tells whoever wants to watch it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from lightning.pytorch import Trainer

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.difficulty.stateful import UpdateCost
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import IntArray, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """What was decided for a stage, and what deciding cost."""

    stage: int
    plan: Plan
    previous: Plan | None
    """The plan of the stage before, or none before stage 0."""
    policy: CurriculumPolicy
    """What decided; an observer only asks it."""
    metrics: Mapping[str, DifficultyMetric]
    formulas: Mapping[str, str]
    """Formula id of every metric, with the arithmetic of scoring."""
    table: DifficultyTable
    """The live table; an observer reads it and copies what it keeps."""
    candidates: IntArray
    """Indices that were scored with the model for this decision."""
    scoring_seconds: float
    selecting_seconds: float
    scored_tokens: int
    learning: UpdateCost = field(default_factory=UpdateCost)
    """What updates of metrics with parameters of their own cost, and what those want to see logged."""

    @property
    def overlap(self) -> float:
        """Share of this stage's distinct examples that the stage before trained on too; NaN at stage 0."""
        if self.previous is None:
            return float("nan")
        now, before = set(self.plan.indices.tolist()), set(self.previous.indices.tolist())
        return len(now & before) / len(now)


class CurriculumObserver(ABC):
    """A callback that wants to see every decision; list it among the trainer's callbacks."""

    @abstractmethod
    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        """Called on every rank when the plan of a stage has been put in force."""
