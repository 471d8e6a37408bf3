"""The ways of training that are timed against each other: one epoch over the same tokens from the same weights."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from lightning.pytorch import Callback, LightningModule, Trainer

from experiments.benchmarks.scoring_data import load
from lit_curriculum import CurriculumCallback, InstructionDataModule, UniformPolicy
from lit_curriculum.data.store import EncodedStore
from lit_curriculum.models.execution import rows
from lit_curriculum.types import CONDITIONED

OURS, APART = "ours, packed", "ours, packed, beginnings not shared"
GROUPED, PACKED = "Hugging Face Trainer, grouped by length", "TRL SFTTrainer, packed"
LEARNING_RATE = 1e-5
CLIP = 1.0


@dataclass
class Run:
    """What one epoch took, from the first step to the last, and the mean loss of its steps."""

    seconds: float = 0.0
    processor: float = 0.0
    """Seconds of CPU time."""
    loss: float = 0.0
    """Nats a token."""

    def start(self) -> None:
        """The first step begins."""
        self._started = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """The last step has ended."""
        self.seconds, self.processor = time.perf_counter() - self._started[0], time.process_time() - self._started[1]


@dataclass
class Setting:
    """What all contenders are given."""

    data: InstructionDataModule
    source: str
    batch_size: int
    row_length: int
    """Tokens of a packed row of TRL."""
    folder: Path

    @property
    def store(self) -> EncodedStore:
        """The encoded examples."""
        return self.data.train_store

    @property
    def num_tokens(self) -> int:
        """Tokens of all examples, padding not counted."""
        return int(self.store.lengths(CONDITIONED).sum())

    @property
    def rows_per_step(self) -> int:
        """Packed rows of TRL that hold about as many tokens as a batch of the others."""
        return max(1, round(self.batch_size * self.num_tokens / len(self.store) / self.row_length))

    def dataset(self) -> Dataset:
        """The same tokens and labels as a table for the other trainers."""
        views = [self.store.encoded(i, CONDITIONED) for i in range(len(self.store))]
        return Dataset.from_dict(
            {
                "input_ids": [v.input_ids.tolist() for v in views],
                "labels": [[int(t) if s else -100 for t, s in zip(v.input_ids, v.scored, strict=True)] for v in views],
            }
        )

    def model(self) -> Any:
        """The Hugging Face model with its first weights, in training mode."""
        return load(self.source, "float32", torch.device("cpu")).model.train()


def ours(setting: Setting, shared: bool = True) -> Run:
    """One epoch with our loop, sampler, loss on responses and packing."""
    module = load(setting.source, "float32", torch.device("cpu"), packing=True, loss_reduction="token").train()
    module.optimizer = lambda p: torch.optim.AdamW(p, lr=LEARNING_RATE, weight_decay=0.0)
    clock = _Clock()
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, gradient_clip_val=CLIP, callbacks=[CurriculumCallback(UniformPolicy()), clock],
        reload_dataloaders_every_n_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=setting.folder,
    )  # fmt: skip
    with _sharing(shared):
        trainer.fit(module, setting.data)
    return clock.run


def grouped_by_length(setting: Setting) -> Run:
    """One epoch with the Trainer of transformers: padded batches of rows of nearly equal length."""
    from transformers import DataCollatorForSeq2Seq, TrainingArguments
    from transformers import Trainer as HuggingFaceTrainer

    options = TrainingArguments(
        per_device_train_batch_size=setting.batch_size, train_sampling_strategy="group_by_length",
        **_common_options(setting),
    )  # fmt: skip
    collate = DataCollatorForSeq2Seq(setting.data.tokenizer)
    trainer = HuggingFaceTrainer(setting.model(), options, collate, setting.dataset())
    return _timed(trainer)


def packed_by_trl(setting: Setting) -> Run:
    """One epoch with TRL's packing, one row at a time.

    TRL lays all rows of a batch one behind the other, which without flash attention costs the square of their sum, so
    batches of one row are its fastest way on a CPU; the optimizer steps after as many as make a batch.
    """
    from trl import SFTConfig, SFTTrainer

    options = SFTConfig(
        per_device_train_batch_size=1, gradient_accumulation_steps=setting.rows_per_step, packing=True,
        max_length=setting.row_length, gradient_checkpointing=False, bf16=False, **_common_options(setting),
    )  # fmt: skip
    trainer = SFTTrainer(
        setting.model(), options, train_dataset=setting.dataset(), processing_class=setting.data.tokenizer
    )
    lengths = [sum(found) for found in trainer.train_dataset["seq_lengths"]]
    assert sum(lengths) == setting.num_tokens, "TRL has cut a row"
    return _timed(trainer)


CONTENDERS = {
    OURS: ours,
    APART: lambda setting: ours(setting, shared=False),
    GROUPED: grouped_by_length,
    PACKED: packed_by_trl,
}


def _common_options(setting: Setting) -> dict[str, Any]:
    return {
        "output_dir": str(setting.folder / "other"), "num_train_epochs": 1, "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant", "weight_decay": 0.0, "max_grad_norm": CLIP, "optim": "adamw_torch",
        "use_cpu": True, "save_strategy": "no", "logging_strategy": "no", "report_to": "none", "disable_tqdm": True,
        "seed": 0,
    }  # fmt: skip


def _timed(trainer: Any) -> Run:
    from transformers import TrainerCallback

    run = Run()

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: object, **__: object) -> None:
            run.start()

        def on_train_end(self, *_: object, **__: object) -> None:
            run.stop()

    trainer.add_callback(Clock())
    run.loss = trainer.train().training_loss
    return run


class _Clock(Callback):
    def __init__(self) -> None:
        self.run = Run()
        self._losses: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.run.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._losses.append(float(outputs["loss"]))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.run.stop()
        self.run.loss = sum(self._losses) / len(self._losses)


@contextmanager
def _sharing(shared: bool) -> Iterator[None]:
    """What rows begin with is shared, or not, to see what it is worth."""
    usual = rows.SHORTEST
    rows.SHORTEST = usual if shared else 1 << 30
    try:
        yield
    finally:
        rows.SHORTEST = usual
