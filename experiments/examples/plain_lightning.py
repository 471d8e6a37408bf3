"""A module and a data module that know nothing of a curriculum, and the lines that give them one.

python -m experiments.examples.plain_lightning [--out DIR]

``PlainModule`` and ``PlainData`` are as anybody writes them. ``CurriculumModule`` and ``CurriculumData`` are the same
with what a curriculum needs: a store of the examples and the sampler in place of the shuffle and, because this policy
needs the model's losses, a method that returns them. The trainer gets a callback, and reloads the training data for
every stage.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from lit_curriculum import (
    CompetencePolicy,
    CurriculumCallback,
    CurriculumSampler,
    NegativeLogLikelihood,
    SelectionLog,
    TokenStore,
)
from lit_curriculum.models.execution.token_nll import nll_of_logits
from lit_curriculum.types import Batch, TokenNLL

Row = dict[str, list[int]]


def sums(count: int) -> list[Row]:
    """Additions as bytes; only the answer is trained on."""
    rows = []
    for i in range(count):
        a, b = 37 * i % 10 ** (1 + i % 3), 53 * i % 10 ** (1 + i % 3)
        prompt, answer = list(f"{a}+{b}=".encode()), list(f"{a + b}.".encode())
        rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    return rows


def pad(rows: Sequence[Row]) -> dict[str, Tensor]:
    """Right-padded ``input_ids`` and ``labels`` [B, L]."""
    width = max(len(row["input_ids"]) for row in rows)
    ids = [row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in rows]
    labels = [row["labels"] + [-100] * (width - len(row["labels"])) for row in rows]
    return {"input_ids": torch.tensor(ids), "labels": torch.tensor(labels)}


class PlainModule(LightningModule):
    """A recurrent language model over bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(128, 32)
        self.body = nn.GRU(32, 64, batch_first=True)
        self.head = nn.Linear(64, 128)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits [B, L, 128]."""
        hidden, _ = self.body(self.embed(input_ids))
        logits: Tensor = self.head(hidden)
        return logits

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        logits, labels = self(batch["input_ids"])[:, :-1], batch["labels"][:, 1:]
        loss = cross_entropy(logits.flatten(0, 1), labels.flatten())
        self.log("train/loss", loss, batch_size=len(labels))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


class PlainData(LightningDataModule):
    """The rows in a new random order each epoch."""

    def __init__(self, rows: list[Row], batch_size: int = 16) -> None:
        super().__init__()
        self.rows, self.batch_size = rows, batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.rows, self.batch_size, shuffle=True, collate_fn=pad)  # type: ignore[arg-type]


class CurriculumModule(PlainModule):
    """The same model; needed only where a metric reads the model's losses."""

    def token_nll(self, batch: Batch) -> TokenNLL:
        return nll_of_logits(self(batch.input_ids), batch)


class CurriculumData(PlainData):
    """The same rows, in the order that the curriculum wants."""

    def setup(self, stage: str) -> None:
        self.train_store = TokenStore(self.rows)
        self.sampler = CurriculumSampler(len(self.rows), 1, 0, self.batch_size, weighted=False)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.rows, self.batch_size, sampler=self.sampler, collate_fn=pad)  # type: ignore[arg-type]


def main(args: Sequence[str] | None = None) -> PlainModule:
    """Train three stages from easy to hard by the loss of the untrained model; the trained module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/plain_lightning"))
    parser.add_argument("--rows", type=int, default=200)
    given = parser.parse_args(args)
    policy = CompetencePolicy("loss", initial_scope=0.2)
    curriculum = CurriculumCallback(policy, {"loss": NegativeLogLikelihood()})
    trainer = Trainer(
        max_epochs=3, reload_dataloaders_every_n_epochs=1, callbacks=[curriculum, SelectionLog()],
        default_root_dir=given.out, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    module = CurriculumModule()
    trainer.fit(module, CurriculumData(sums(given.rows)))
    print(f"trained on {trainer.global_step} batches; what each stage was: {given.out}/selection")
    return module


if __name__ == "__main__":
    main()
