"""What other callbacks implement to prepare a stage or to see what was planned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.loop.planner import StageReport
from lit_curriculum.utils.options import Configured


class CurriculumObserver(ABC):
    """A callback that sees every decision; list it among the trainer's callbacks."""

    @abstractmethod
    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        """Called on every rank when the plan of a stage has been put in force."""


class StagePreparer(Configured, ABC):
    """A callback that prepares the data before a stage is planned; list it among the trainer's callbacks.

    It is called before every plan: before the first stage, at the end of a stage, and when a resumed run makes up for
    a refresh that it had not reached.
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
        """Called on every rank before the curriculum's state is loaded, so that the data can grow again."""


def prepare_stage(
    trainer: Trainer, module: LightningModule, policy: CurriculumPolicy, table: DifficultyTable, stage: int
) -> None:
    """Call all preparers among the trainer's callbacks, in their order."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, StagePreparer):
            callback.prepare_stage(trainer, module, policy, table, stage)


def restore_data(trainer: Trainer, policy: CurriculumPolicy, table: DifficultyTable) -> None:
    """Have all preparers among the trainer's callbacks restore the data of a resumed run."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, StagePreparer):
            callback.restore_data(trainer, policy, table)


def notify_observers(trainer: Trainer, report: StageReport) -> None:
    """Report a plan to all observers among the trainer's callbacks, in their order."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, CurriculumObserver):
            callback.on_stage_planned(trainer, report)


def run_folder(trainer: Trainer, dirpath: str | None = None) -> Path:
    """The folder that a callback writes to: ``dirpath``, else the logger's folder, else the trainer's root folder.

    All ranks have to call it, since Lightning broadcasts the logger's folder from rank zero.
    """
    return Path(dirpath or trainer.log_dir or trainer.default_root_dir)
