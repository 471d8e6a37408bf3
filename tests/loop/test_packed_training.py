"""Packing changes neither the order of a plan nor its losses, and a packed run that is resumed repeats its bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_curriculum import AbilityDataModule, CausalLMModule, CurriculumCallback, UniformPolicy
from lit_curriculum.models.lr_schedules import WarmupCosine
from lit_curriculum.types import Batch

CONFIG: dict[str, Any] = {
    "model_type": "llama", "vocab_size": 102, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip


class Steps(Callback):
    """Examples, loss and learning rate of every step."""

    def __init__(self) -> None:
        self.examples: list[list[int]] = []
        self.losses: list[float] = []
        self.rates: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.examples.append(batch.index.tolist())
        self.losses.append(float(outputs["loss"]))
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def fit(folder: Path, packing: bool, resume: str | None = None) -> tuple[Steps, CausalLMModule]:
    module = CausalLMModule(
        config=CONFIG, packing=packing, optimizer=lambda p: torch.optim.AdamW(p, lr=1e-3), lr_schedule=WarmupCosine
    )
    steps = Steps()
    keep = ModelCheckpoint(folder / "kept", filename="{step}", every_n_train_steps=4, save_top_k=-1)
    trainer = Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_progress_bar=False, enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1, limit_val_batches=0, default_root_dir=folder,
        callbacks=[CurriculumCallback(UniformPolicy()), steps, keep],
    )  # fmt: skip
    data = AbilityDataModule(num_train=90, num_val_per_ability=1, batch_size=16, cache_dir=str(folder.parent / "cache"))
    trainer.fit(module, data, ckpt_path=resume)
    return steps, module


def test_order_steps_and_losses_are_those_of_a_run_without_packing(tmp_path: Path) -> None:
    plain, _ = fit(tmp_path / "plain", packing=False)
    packed, module = fit(tmp_path / "packed", packing=True)
    assert module.execution is not None
    assert module.execution.rows_exact
    assert packed.examples == plain.examples, "no example leaves its batch"
    assert len(packed.losses) == 12
    assert packed.rates == plain.rates
    assert packed.losses == pytest.approx(plain.losses, rel=1e-4)
    assert packed.losses != plain.losses, "the sums are taken in another order"


def test_a_packed_run_resumed_inside_a_stage_repeats_its_bits(tmp_path: Path) -> None:
    whole, module = fit(tmp_path / "whole", packing=True)
    rest, resumed = fit(tmp_path / "rest", packing=True, resume=str(tmp_path / "whole" / "kept" / "step=4.ckpt"))
    assert rest.examples == whole.examples[4:]
    assert rest.losses == whole.losses[4:]
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, module.state_dict()[name]), name
