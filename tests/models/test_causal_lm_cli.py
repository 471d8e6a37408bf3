"""The module as yaml configures it, and on two processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningCLI
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.models.lora import LoRA
from lit_curriculum.models.lr_schedules import WarmupCosine
from lit_curriculum.types import Batch

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 31,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
YAML = """
model:
  class_path: lit_curriculum.CausalLMModule
  init_args:
    config: {model_type: llama, vocab_size: 31, hidden_size: 16, num_attention_heads: 2, num_hidden_layers: 1}
    lora: {rank: 3, target_modules: [q_proj]}
    loss_reduction: token
    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.002, weight_decay: 0.1}}
    lr_schedule:
      class_path: lit_curriculum.WarmupCosine
      init_args: {warmup_fraction: 0.1, final_fraction: 0.2}
"""


def test_yaml_configures_the_module(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    (tmp_path / "run.yaml").write_text(YAML)
    cli = LightningCLI(
        LightningModule, subclass_mode_model=True, run=False, args=["--config", str(tmp_path / "run.yaml")]
    )
    module = cli.model
    assert isinstance(module, CausalLMModule)
    assert module.model is None
    assert module.lora == LoRA(rank=3, target_modules=["q_proj"])
    module.configure_model()
    module.horizon_steps = 10
    configured = module.configure_optimizers()
    assert configured["optimizer"].param_groups[0]["initial_lr"] == 0.002
    schedule = configured["lr_scheduler"]["scheduler"]
    assert isinstance(schedule, WarmupCosine)
    assert (schedule.total_steps, schedule.warmup_fraction, schedule.final_fraction) == (10, 0.1, 0.2)


def make_rows() -> list[tuple[Tensor, int, float]]:
    """Token rows, response lengths and weights; a rank that takes every second row gets less of each."""
    generator = torch.Generator().manual_seed(5)
    rows = [torch.randint(3, 31, (10,), generator=generator) for _ in range(8)]
    return list(zip(rows, [1, 8, 2, 7, 0, 6, 0, 5], [1.0, 2.0, 0.5, 1.0, 1.0, 1.0, 1.0, 3.0], strict=True))


def collate(rows: list[tuple[Tensor, int, float]]) -> Batch:
    ids = torch.stack([row for row, _, _ in rows])
    scored = torch.stack([torch.arange(10) >= 10 - response for _, response, _ in rows])
    return Batch(ids, torch.ones_like(ids), scored, torch.arange(len(rows)), torch.tensor([w for _, _, w in rows]))


class Rows(LightningDataModule):
    def __init__(self, global_batch: int) -> None:
        super().__init__()
        self.global_batch = global_batch

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        dataset: Dataset[Any] = make_rows()  # type: ignore[assignment]
        ranks, rank = self.trainer.world_size, self.trainer.global_rank
        sampler: DistributedSampler[Any] = DistributedSampler(dataset, ranks, rank, shuffle=False)
        return DataLoader(dataset, batch_size=self.global_batch // ranks, sampler=sampler, collate_fn=collate)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.train_dataloader()


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.5)


class SaveAtEnd(Callback):
    """Spawned processes take their module with them when they end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self.path)


def train(reduction: Any, ranks: int, folder: Path) -> tuple[dict[str, Tensor], dict[str, float]]:
    module = CausalLMModule(config=CONFIG, optimizer=sgd, loss_reduction=reduction)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", devices=ranks, strategy="ddp_spawn" if ranks > 1 else "auto", logger=False,
        enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0,
        default_root_dir=folder, callbacks=[SaveAtEnd(folder / f"{ranks}.ckpt")],
    )  # fmt: skip
    trainer.fit(module, Rows(global_batch=4))
    state = torch.load(folder / f"{ranks}.ckpt", weights_only=True)["state_dict"]
    return state, {name: float(value) for name, value in trainer.callback_metrics.items()}


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["example", "token"])
def test_two_ranks_train_as_one(reduction: Any, tmp_path: Path) -> None:
    expected, logged = train(reduction, 1, tmp_path)
    found, logged_by_two = train(reduction, 2, tmp_path)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
    assert logged_by_two == pytest.approx(logged, rel=1e-5)
    assert set(logged) == {"train/loss", "val/loss"}
