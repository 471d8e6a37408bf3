"""What makes or changes data between stages, and when the curriculum asks for it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from lightning.pytorch import LightningModule, Trainer

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.difficulty.table import DifficultyTable


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
