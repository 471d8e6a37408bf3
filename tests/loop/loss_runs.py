"""Modules and callbacks for runs that use the losses of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_curriculum import CurriculumObserver, StageReport
from lit_curriculum.types import Batch
from tests.toy import ToyModule


class LossModule(ToyModule):
    """Returns the losses of its examples, as CausalLMModule does."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[int, float]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        nll, row, _ = self.token_nll(batch)
        sums = torch.zeros(len(batch)).index_add(0, row, nll)
        counts = torch.zeros(len(batch)).index_add(0, row, torch.ones_like(nll))
        means = (sums / counts.clamp(min=1)).detach()
        self.seen.append(dict(zip(batch.index.tolist(), means.tolist(), strict=True)))
        loss = super().training_step(batch, batch_idx)
        return {"loss": loss, "index": batch.index, "nll_sum": sums.detach(), "num_scored": counts}


class Watch(Callback, CurriculumObserver):
    def __init__(self) -> None:
        self.reports: list[StageReport] = []
        self.scores: list[np.ndarray] = []
        self.scored_at: list[np.ndarray] = []

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        self.reports.append(report)
        self.scores.append(report.table.scores["nll"].copy())
        self.scored_at.append(report.table.scored_at["nll"].copy())


class StopAt(Callback):
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        if trainer.global_step == 5:
            raise KeyboardInterrupt
