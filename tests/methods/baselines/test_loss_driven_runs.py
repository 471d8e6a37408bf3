"""Policies that live on the losses of training, in whole runs: weights reach the loss, and a resume is exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_curriculum import (
    CurriculumCallback,
    CurriculumPolicy,
    LossSamplingPolicy,
    LossWeightingPolicy,
    NegativeLogLikelihood,
)
from lit_curriculum.types import Example
from tests.loop.loss_runs import LossModule, StopAt, Watch
from tests.toy import ToyData, toy_trainer


def make_policy(name: str) -> CurriculumPolicy:
    if name == "super_loss":
        return LossWeightingPolicy("nll", strength=0.3)
    return LossSamplingPolicy("nll", budget_passes=2.5, anneal=0.2)


def run(
    tmp_path: Path, examples: list[Example], name: str, *more: Callback, ckpt: Path | None = None
) -> tuple[LossModule, Watch]:
    module, watch = LossModule(), Watch()
    curriculum = CurriculumCallback(make_policy(name), {"nll": NegativeLogLikelihood()}, training_loss_metric="nll")
    trainer = toy_trainer(tmp_path, 5, callbacks=[curriculum, watch, *more], enable_checkpointing=bool(more))
    trainer.fit(module, ToyData(examples), ckpt_path=ckpt)
    return module, watch


@pytest.mark.parametrize("name", ["infobatch", "super_loss"])
def test_a_run_stopped_inside_a_stage_ends_as_the_straight_one(
    name: str, tmp_path: Path, toy_examples: list[Example]
) -> None:
    straight, watch = run(tmp_path / "a", toy_examples, name)
    assert all(len(report.candidates) == 0 for report in watch.reports)  # not one example was scored for it
    assert {len(report.plan) for report in watch.reports[:1]} == {40}
    weights = watch.reports[1].plan.weights
    assert weights is not None
    assert weights.max() > 1.0
    if name == "infobatch":
        assert sum(len(r.plan) for r in watch.reports) == 100
    saver = ModelCheckpoint(tmp_path / "ckpt", every_n_train_steps=1, save_top_k=-1, filename="{step}")
    with pytest.raises(SystemExit):
        run(tmp_path / "b", toy_examples, name, StopLater(), saver)
    resumed, again = run(tmp_path / "b", toy_examples, name, ckpt=tmp_path / "ckpt" / "step=12.ckpt")
    assert resumed.trained == straight.trained[12:]
    assert resumed.losses == straight.losses[12:]
    assert torch.equal(resumed.table, straight.table)
    last, other = watch.reports[-1].plan, again.reports[-1].plan
    np.testing.assert_array_equal(last.indices, other.indices)
    assert last.weights is not None
    assert other.weights is not None
    np.testing.assert_array_equal(last.weights, other.weights)


class StopLater(StopAt):
    def on_train_batch_end(self, trainer, pl_module, *rest):  # type: ignore[no-untyped-def]
        if trainer.global_step == 13:
            raise KeyboardInterrupt
