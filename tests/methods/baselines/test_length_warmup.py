"""Sequence-length warm-up: lengths by hand, what the model really sees, and the same after a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from lit_curriculum import CurriculumCallback, SequenceLengthWarmup, UniformPolicy
from lit_curriculum.types import Batch, Example
from tests.toy import ToyData, ToyModule, toy_trainer


def test_golden_lengths() -> None:
    linear = SequenceLengthWarmup(16, 64, duration=0.5, multiple_of=8)
    assert [linear.length(u) for u in (0.0, 0.08, 0.1, 0.25, 0.49)] == [16, 16, 24, 40, 56]
    assert linear.length(0.5) is None
    doubling = SequenceLengthWarmup(16, 100, duration=1.0, growth="doubling")
    # Three doublings reach 128: four plateaus, of 16, 32, 64 and 100.
    assert [doubling.length(u) for u in (0.0, 0.24, 0.25, 0.5, 0.75, 0.99)] == [16, 16, 32, 64, 100, 100]
    assert SequenceLengthWarmup(20, 20).length(0.0) == 20
    assert SequenceLengthWarmup(20, 64).length(0.0) == 20  # not below the initial length, whatever the multiple


class Recording(ToyModule):
    def __init__(self) -> None:
        super().__init__()
        self.widths: list[int] = []
        self.batches: list[Batch] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        assert batch.input_ids.shape == batch.attention_mask.shape == batch.scored.shape
        self.widths.append(batch.input_ids.shape[1])
        self.batches.append(batch)
        return super().training_step(batch, batch_idx)


class StopAt(Callback):
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        if trainer.global_step == 14:
            raise KeyboardInterrupt


def run(tmp_path: Path, examples: list[Example], *more: Callback, ckpt: Path | None = None) -> Recording:
    module = Recording()
    callbacks = [CurriculumCallback(UniformPolicy()), SequenceLengthWarmup(12, 30, 0.75), *more]
    trainer = toy_trainer(tmp_path, 4, callbacks=callbacks, enable_checkpointing=bool(more))
    trainer.fit(module, ToyData(examples), ckpt_path=ckpt)
    return module


def test_batches_are_cut_and_a_resumed_run_cuts_alike(tmp_path: Path, toy_examples: list[Example]) -> None:
    straight = run(tmp_path / "a", toy_examples)
    callback = SequenceLengthWarmup(12, 30, 0.75)
    assert len(straight.widths) == 40  # 10 batches a stage, 4 stages
    limits = [callback.length(step / 40) or 10_000 for step in range(40)]
    assert all(width <= limit for width, limit in zip(straight.widths, limits, strict=True))
    assert straight.widths[0] == 12 < max(straight.widths)
    assert limits[29] < 10_000 == limits[30]
    # What is left of a cut row is its beginning.
    batch = straight.batches[0]
    whole = ToyData(toy_examples)
    assert bytes(batch.input_ids[0].to(torch.uint8).tolist()).decode().startswith("<Name ")
    assert whole.batch_size == 4
    saver = ModelCheckpoint(tmp_path / "ckpt", every_n_train_steps=1, save_top_k=-1, filename="{step}")
    with pytest.raises(SystemExit):
        run(tmp_path / "b", toy_examples, StopAt(), saver)
    resumed = run(tmp_path / "b", toy_examples, ckpt=tmp_path / "ckpt" / "step=13.ckpt")
    assert resumed.widths == straight.widths[13:]
    assert resumed.losses == straight.losses[13:]


def test_what_cannot_work_is_refused(tmp_path: Path, toy_examples: list[Example]) -> None:
    with pytest.raises(ValueError, match="1 <= initial_length <= final_length is needed"):
        SequenceLengthWarmup(9, 8)
    with pytest.raises(ValueError, match=r"duration must be in \(0, 1\], got 0"):
        SequenceLengthWarmup(8, 8, duration=0.0)
    with pytest.raises(ValueError, match="multiple_of must be at least 1, got 0"):
        SequenceLengthWarmup(8, 8, multiple_of=0)
    with pytest.raises(ValueError, match=r"SequenceLengthWarmup.growth must be one of linear, doubling"):
        SequenceLengthWarmup(8, 8, growth="root")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cuts batches of class Batch, but the training loader gives list"):
        SequenceLengthWarmup(8, 8).on_train_batch_start(toy_trainer(tmp_path), ToyModule(), [1], 0)
