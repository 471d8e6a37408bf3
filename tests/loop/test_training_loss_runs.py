"""Training losses become scores of the next stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_curriculum import CurriculumCallback, OrderedPolicy
from lit_curriculum.difficulty.loss_metrics import NegativeLogLikelihood, Perplexity
from lit_curriculum.types import Example
from tests.loop.loss_runs import LossModule, StopAt, Watch
from tests.toy import ToyData, ToyModule, toy_trainer


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
    with pytest.raises(ValueError, match=r"another run: curriculum.policy.direction was 'hard_to_easy'"):
        trainer.fit(LossModule(), ToyData(toy_examples), ckpt_path=tmp_path / "ckpt" / "step=4.ckpt")


def test_what_cannot_work_is_refused_early(tmp_path: Path, toy_examples: list[Example]) -> None:
    policy = OrderedPolicy("ppl", rescore="each_stage")
    with pytest.raises(ValueError, match="has formula ppl/1, but training computes nll-mean/1"):
        CurriculumCallback(policy, {"ppl": Perplexity()}, training_loss_metric="ppl")
    trainer = toy_trainer(tmp_path, 2, callbacks=[curriculum()])
    with pytest.raises(ValueError, match=r"curriculum.training_loss_metric needs a training_step that returns"):
        trainer.fit(ToyModule(), ToyData(toy_examples))
