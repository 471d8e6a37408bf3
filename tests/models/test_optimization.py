"""Parameter groups and the length of a run."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from lit_curriculum.models.optimization import count_steps, parameter_groups


class Numbers(LightningDataModule):
    def __init__(self, loader: object) -> None:
        super().__init__()
        self.loader = loader

    def train_dataloader(self) -> object:
        return self.loader


class Stream(IterableDataset[int]):
    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(range(3))


def make_trainer(loader: object = None, **flags: object) -> Trainer:
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, **flags)  # type: ignore[arg-type]
    if loader is not None:
        datamodule = Numbers(loader)
        trainer.datamodule = datamodule  # type: ignore[attr-defined]
    return trainer


TEN = DataLoader(range(40), batch_size=4)  # type: ignore[arg-type]


def test_vectors_have_no_weight_decay() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    model[2].weight.requires_grad_(False)
    matrices, vectors = parameter_groups(model)
    assert matrices["params"] == [model[0].weight]
    assert vectors["params"] == [model[0].bias, model[1].weight, model[1].bias, model[2].bias]
    assert vectors["weight_decay"] == 0.0
    optimizer = torch.optim.AdamW([matrices, vectors], weight_decay=0.3)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    (only,) = parameter_groups(nn.Linear(2, 2, bias=False))
    assert len(only["params"]) == 1


@pytest.mark.parametrize(
    ("flags", "steps"),
    [
        ({"max_epochs": 3}, 30),
        ({"max_epochs": 3, "accumulate_grad_batches": 4}, 9),
        ({"max_epochs": 3, "limit_train_batches": 0.5}, 15),
        ({"max_epochs": 3, "limit_train_batches": 7}, 21),
        ({"max_epochs": 3, "max_steps": 12}, 12),
        ({"max_epochs": 1, "max_steps": 12}, 10),
        ({"max_steps": 12}, 12),
        ({"max_epochs": -1}, None),
    ],
)
def test_steps_of_a_run(flags: dict[str, object], steps: int | None) -> None:
    assert count_steps(make_trainer(TEN, **flags)) == steps


def test_steps_without_data_module_or_length() -> None:
    assert count_steps(make_trainer(max_epochs=2)) is None
    assert count_steps(make_trainer(max_epochs=2, max_steps=5)) == 5
    assert count_steps(make_trainer([1, 2], max_epochs=2)) is None
    assert count_steps(make_trainer(DataLoader(Stream()), max_epochs=2)) is None


def test_ranks_share_a_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "world_size", 4)
    assert count_steps(make_trainer(TEN, max_epochs=2)) == 2 * 3
    sampler: DistributedSampler[int] = DistributedSampler(range(40), num_replicas=4, rank=0)  # type: ignore[arg-type]
    sharded = DataLoader(range(40), batch_size=4, sampler=sampler)  # type: ignore[arg-type]
    assert count_steps(make_trainer(sharded, max_epochs=2)) == 2 * 3
