"""What the curriculum tells whoever wants to watch it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from lightning.pytorch import LightningModule, Trainer

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.difficulty.learned import UpdateCost
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


class StagePreparer(ABC):
    """A callback that gets the data ready before a stage is planned; list it among the trainer's callbacks.

    The curriculum calls it on every path that leads to a plan: before the first stage, at the end of a stage, and
    when a resumed run makes up for a refresh that it had not reached.
    """

    @abstractmethod
    def prepare_stage(
        self, trainer: Trainer, module: LightningModule, policy: CurriculumPolicy, table: DifficultyTable, stage: int
    ) -> None:
        """Called on every rank before examples are scored and the policy is stepped for ``stage``.

        It may append to the data (and then grows sampler and table and sets the policy up again) and enter scores.
        A second call for the same stage changes nothing.
        """

    @abstractmethod
    def restore_data(self, trainer: Trainer, policy: CurriculumPolicy, table: DifficultyTable) -> None:
        """Called on every rank before a checkpoint's plan, table and policy are put in force: the data grow again."""


def prepare_stage(
    trainer: Trainer, module: LightningModule, policy: CurriculumPolicy, table: DifficultyTable, stage: int
) -> None:
    """Call all preparers among the trainer's callbacks, in their order."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, StagePreparer):
            callback.prepare_stage(trainer, module, policy, table, stage)


def restore_data(trainer: Trainer, policy: CurriculumPolicy, table: DifficultyTable) -> None:
    """The same for a run that is continued."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, StagePreparer):
            callback.restore_data(trainer, policy, table)
