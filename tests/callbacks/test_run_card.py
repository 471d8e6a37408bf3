"""The run card: what it says, that it survives a resume, and what it says of a run that broke."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_curriculum import CurriculumCallback, RunCard, UniformPolicy
from lit_curriculum.difficulty.loss_metrics import NegativeLogLikelihood
from lit_curriculum.types import Example
from tests.toy import ToyData, ToyModule, toy_trainer


def _callbacks() -> list[Callback]:
    return [CurriculumCallback(UniformPolicy(fraction=0.5), {"nll": NegativeLogLikelihood()}, seed=3), RunCard()]


def _card(folder: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return card


def test_card_says_what_was_run_and_what_it_cost(tmp_path: Path, toy_examples: list[Example]) -> None:
    data = ToyData(toy_examples)
    trainer = toy_trainer(tmp_path, max_epochs=3, callbacks=_callbacks(), limit_val_batches=1.0)
    trainer.fit(ToyModule(), data)
    card = _card(tmp_path)
    assert card["status"] == "finished"
    assert card["policy"]["class"] == "UniformPolicy"
    assert card["policy"]["options"]["fraction"] == 0.5
    assert card["metrics"]["nll"]["formula"] == NegativeLogLikelihood().formula
    assert card["seed"] == 3
    assert card["data"]["examples"] == len(toy_examples)
    assert card["model"]["parameters"] == 128 * 128
    half = len(toy_examples) // 2
    assert [s["examples"] for s in card["stages"]] == [half] * 3
    plan = data.sampler.plan
    assert plan is not None
    assert card["stages"][-1]["tokens"] == sum(
        len(data.train_store.encoded(int(i), "conditioned").input_ids) for i in plan.indices
    )
    assert all(s["training_seconds"] > 0 for s in card["stages"])
    assert card["stages"][0]["overlap"] is None
    steps = [v["step"] for v in card["validations"]]
    assert steps == sorted(set(steps))
    assert len(steps) == 3
    assert steps[-1] == trainer.global_step
    assert card["validations"][-1]["metrics"]["val/loss"] == pytest.approx(float(trainer.callback_metrics["val/loss"]))


def test_a_continued_run_has_all_its_stages_once(tmp_path: Path, toy_examples: list[Example]) -> None:
    keep = ModelCheckpoint(dirpath=tmp_path / "ckpt", every_n_epochs=1, save_top_k=-1)
    options: dict[str, Any] = {"enable_checkpointing": True, "limit_val_batches": 1.0}
    trainer = toy_trainer(tmp_path / "first", max_epochs=2, callbacks=[*_callbacks(), keep], **options)
    trainer.fit(ToyModule(), ToyData(toy_examples))
    path = sorted((tmp_path / "ckpt").glob("epoch=0*"))[0]
    again = toy_trainer(tmp_path / "second", max_epochs=4, callbacks=[*_callbacks()], **options)
    again.fit(ToyModule(), ToyData(toy_examples), ckpt_path=str(path))
    card = _card(tmp_path / "second")
    assert [s["stage"] for s in card["stages"]] == [0, 1, 2, 3]
    assert [v["step"] for v in card["validations"]] == [s["step"] for s in card["stages"][1:]] + [again.global_step]
    assert card["data"] == _card(tmp_path / "first")["data"]


class _Breaks(Callback):
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("the disk is on fire")


def test_card_of_a_broken_run_says_so(tmp_path: Path, toy_examples: list[Example]) -> None:
    trainer = toy_trainer(tmp_path, max_epochs=3, callbacks=[*_callbacks(), _Breaks()])
    with pytest.raises(RuntimeError, match="on fire"):
        trainer.fit(ToyModule(), ToyData(toy_examples))
    card = _card(tmp_path)
    assert card["status"] == "stopped by RuntimeError"
    assert [s["stage"] for s in card["stages"]] == [0, 1]
