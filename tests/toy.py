"""A tiny module and data module for tests of the loop: bytes as tokens, a bigram model, seconds become milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lit_curriculum.data.sampler import CurriculumSampler
from lit_curriculum.types import CONDITIONED, Batch, EncodedView, Example, TokenNLL
from tests.conftest import ListStore


class ToyModule(LightningModule):
    """Bigram language model over bytes, with an optional dropout; a plain user's module in a few lines."""

    def __init__(self, lr: float = 0.5, dropout: float = 0.0, momentum: float = 0.9) -> None:
        super().__init__()
        self.lr, self.momentum = lr, momentum
        generator = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(0.1 * torch.randn(128, 128, generator=generator))
        self.dropout = nn.Dropout(dropout)
        self.horizon_steps: int | None = None
        self.trained: list[list[int]] = []
        self.losses: list[float] = []

    def token_nll(self, batch: Batch) -> TokenNLL:
        logits = self.dropout(self.table[batch.input_ids[:, :-1]])
        targets, scored = batch.input_ids[:, 1:], batch.scored[:, 1:]
        nll = -logits.log_softmax(-1).gather(2, targets[..., None])[..., 0]
        return TokenNLL(nll[scored], scored.nonzero()[:, 0], (logits.argmax(-1) == targets)[scored])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        nll, row, _ = self.token_nll(batch)
        sums = torch.zeros(len(batch)).index_add(0, row, nll)
        counts = torch.zeros(len(batch)).index_add(0, row, torch.ones_like(nll)).clamp(min=1)
        loss = (batch.weight * sums / counts).sum() / batch.weight.sum().clamp(min=1e-9)
        self.trained.append([int(i) for i, w in zip(batch.index, batch.weight, strict=True) if w > 0])
        self.losses.append(float(loss.detach()))
        self.log("train/loss", loss, batch_size=len(batch))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("val/loss", self.token_nll(batch).nll.mean(), batch_size=len(batch))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.lr, momentum=self.momentum)
        if self.horizon_steps is None:
            return optimizer
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=self.horizon_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class ToyRows:
    """The rows that a sampler's entries name, for a loader that collates them with ``Batch.from_views``."""

    def __init__(self, store: ListStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, entry: tuple[int, float] | int) -> tuple[int, float, EncodedView]:
        index, weight = (entry, 1.0) if isinstance(entry, int) else entry
        return index, weight, self.store.encoded(index, CONDITIONED)


class ToyData(LightningDataModule):
    """The two attributes that a curriculum needs of a plain user's data module: ``train_store`` and ``sampler``."""

    def __init__(self, examples: Sequence[Example], batch_size: int = 4, num_workers: int = 0) -> None:
        super().__init__()
        self.examples, self.batch_size, self.num_workers = examples, batch_size, num_workers

    def setup(self, stage: str) -> None:
        trainer: Trainer = self.trainer  # type: ignore[assignment]
        self.train_store = ListStore(self.examples)
        self.sampler = CurriculumSampler(len(self.examples), trainer.world_size, trainer.global_rank, self.batch_size)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(
            ToyRows(self.train_store),  # type: ignore[arg-type]
            batch_size=self.batch_size // self.trainer.world_size,  # type: ignore[union-attr]
            sampler=self.sampler,
            collate_fn=Batch.from_views,
            num_workers=self.num_workers,
            generator=torch.Generator(),
        )

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(
            ToyRows(self.train_store), batch_size=8, collate_fn=Batch.from_views, generator=torch.Generator()
        )  # type: ignore[arg-type]


def toy_trainer(tmp_path: Any, max_epochs: int = 3, **options: Any) -> Trainer:
    """A quiet trainer on one CPU process with the settings that the loop asks for."""
    settings: dict[str, Any] = {
        "accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False, "enable_checkpointing": False, "default_root_dir": str(tmp_path),
        "reload_dataloaders_every_n_epochs": 1, "max_epochs": max_epochs, "num_sanity_val_steps": 0,
        "limit_val_batches": 0,
    }  # fmt: skip
    settings.update(options)
    return Trainer(**settings)
