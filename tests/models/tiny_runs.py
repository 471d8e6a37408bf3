"""A tiny random model, ready-made batches and a quiet trainer, for the tests of the module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.types import Batch

VOCABULARY = 31
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
}


def make_batch(first: int, responses: list[int], weights: list[float] | None = None, width: int = 12) -> Batch:
    """Rows of examples ``first, first + 1, ...``, each with its own tokens whatever batch it is in."""
    rows = len(responses)
    ids = torch.zeros(rows, width, dtype=torch.int64)
    mask, scored = torch.zeros_like(ids), torch.zeros(rows, width, dtype=torch.bool)
    for row, response in enumerate(responses):
        generator = torch.Generator().manual_seed(first + row)
        length = 2 + response
        ids[row, :length] = torch.randint(3, VOCABULARY, (length,), generator=generator)
        mask[row, :length] = 1
        scored[row, 2:length] = True
    return Batch(ids, mask, scored, torch.arange(first, first + rows), torch.tensor(weights or [1.0] * rows))


class Batches(LightningDataModule):
    """The same ready-made batches for training and validation."""

    def __init__(self, batches: list[Batch]) -> None:
        super().__init__()
        self.batches = batches

    def train_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.train_dataloader()

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self.train_dataloader()


def make_trainer(folder: Path, **flags: Any) -> Trainer:
    options = {"max_epochs": 1, "accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False}
    options |= {"enable_checkpointing": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    return Trainer(**{**options, **flags}, default_root_dir=folder)


def make_module(**options: Any) -> CausalLMModule:
    return CausalLMModule(**{"config": CONFIG, **options})


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.5)


def weights(module: CausalLMModule) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}
