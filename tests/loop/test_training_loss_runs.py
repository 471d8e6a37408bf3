"""Training losses become scores of the next stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_curriculum import CurriculumCallback, CurriculumObserver, OrderedPolicy, StageReport
from lit_curriculum.difficulty.nll import NegativeLogLikelihood, Perplexity
from lit_curriculum.types import Batch, Example
from tests.toy import ToyData, ToyModule, toy_trainer


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


def curriculum() -> CurriculumCallback:
    policy = OrderedPolicy("nll", direction="hard_to_easy", fraction=0.3)
    return CurriculumCallback(policy, {"nll": NegativeLogLikelihood()}, training_loss_metric="nll")


def run(tmp_path: Path, examples: list[Example], *more: Callback, ckpt: Path | None = None) -> tuple[LossModule, Watch]:
    module, watch = LossModule(), Watch()
    trainer = toy_trainer(tmp_path, 3, callbacks=[curriculum(), watch, *more], enable_checkpointing=bool(more))
    trainer.fit(module, ToyData(examples), ckpt_path=ckpt)
    return module, watch


def test_training_losses_enter_the_table_without_scoring(tmp_path: Path, toy_examples: list[Example]) -> None:
    module, watch = run(tmp_path, toy_examples)
    trained = watch.reports[0].plan.indices
    assert len(watch.reports[0].candidates) == 40
    assert len(watch.reports[1].candidates) == 0
    assert (watch.scored_at[1][trained] == 0).all()
    losses = {i: v for batch in module.seen[:3] for i, v in batch.items()}
    assert sorted(losses) == sorted(trained.tolist())
    np.testing.assert_allclose(watch.scores[1][trained], [losses[i] for i in trained.tolist()], rtol=1e-6)
    assert (watch.scored_at[2][watch.reports[1].plan.indices] == 1).all()


class StopAt(Callback):
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        if trainer.global_step == 5:
            raise KeyboardInterrupt


def test_a_run_stopped_inside_a_stage_goes_on_with_the_same_scores(tmp_path: Path, toy_examples: list[Example]) -> None:
    _, straight = run(tmp_path / "a", toy_examples)
    saver = ModelCheckpoint(tmp_path / "ckpt", every_n_train_steps=1, save_top_k=-1, filename="{step}")
    with pytest.raises(SystemExit):
        run(tmp_path / "b", toy_examples, StopAt(), saver)
    _, resumed = run(tmp_path / "b", toy_examples, ckpt=tmp_path / "ckpt" / "step=4.ckpt")
    np.testing.assert_array_equal(resumed.scores[-1], straight.scores[-1])
    np.testing.assert_array_equal(resumed.reports[-1].plan.indices, straight.reports[-1].plan.indices)


def test_other_policy_options_are_refused_on_resume(tmp_path: Path, toy_examples: list[Example]) -> None:
    saver = ModelCheckpoint(tmp_path / "ckpt", every_n_train_steps=1, save_top_k=-1, filename="{step}")
    run(tmp_path, toy_examples, saver)
    other = OrderedPolicy("nll", fraction=0.3)
    callback = CurriculumCallback(other, {"nll": NegativeLogLikelihood()}, training_loss_metric="nll")
    trainer = toy_trainer(tmp_path, 3, callbacks=[callback])
    with pytest.raises(ValueError, match=r"another run: curriculum.policy options was .*'hard_to_easy'"):
        trainer.fit(LossModule(), ToyData(toy_examples), ckpt_path=tmp_path / "ckpt" / "step=4.ckpt")


def test_what_cannot_work_is_refused_early(tmp_path: Path, toy_examples: list[Example]) -> None:
    policy = OrderedPolicy("ppl", rescore="each_stage")
    with pytest.raises(ValueError, match="has formula ppl/1, but training computes nll-mean/1"):
        CurriculumCallback(policy, {"ppl": Perplexity()}, training_loss_metric="ppl")
    trainer = toy_trainer(tmp_path, 2, callbacks=[curriculum()])
    with pytest.raises(ValueError, match=r"curriculum.training_loss_metric needs a training_step that returns"):
        trainer.fit(ToyModule(), ToyData(toy_examples))
