"""Small curricula and a callback that stops a run, for tests of what a run writes."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_curriculum import (
    CurriculumCallback,
    Length,
    OrderedPolicy,
)
from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.difficulty.loss_metrics import NegativeLogLikelihood


class KillAt(Callback):
    """Raises in a batch of a stage, or in the hook at the stage's end."""

    def __init__(self, stage: int, batch: int | None) -> None:
        self.stage, self.batch = stage, batch

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (self.stage, self.batch):
            raise RuntimeError("killed")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.batch is None and trainer.current_epoch == self.stage:
            raise RuntimeError("killed")


def ordered() -> CurriculumPolicy:
    return OrderedPolicy("nll", direction="hard_to_easy", fraction=0.3, rescore="each_stage")


def curriculum(policy: CurriculumPolicy) -> CurriculumCallback:
    metrics = {"nll": NegativeLogLikelihood(), "length": Length(unit="characters")}
    return CurriculumCallback(policy, metrics, seed=3)
