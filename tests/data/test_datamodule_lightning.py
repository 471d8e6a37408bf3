"""The data module under a Trainer: everything is trained and validated on once, on any number of ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from lit_curriculum.data.datamodule import InstructionDataModule
from lit_curriculum.types import CONDITIONED, Batch
from tests.data.toy_files import opened, write_records


class Recorder(LightningModule):
    """Writes down which examples it was given; its loss depends on nothing else."""

    def __init__(self, folder: Path, tokenizer_source: str | None = None, context_length: int | None = None) -> None:
        super().__init__()
        self.folder = folder
        self.tokenizer_source = tokenizer_source
        self.context_length = context_length
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list[list[int]]] = {"train": [], "val": []}

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen["train"].append(batch.index.tolist())
        return self.weight * batch.scored.sum()

    @override
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.seen["val"].append(batch.index.tolist())

    @override
    def on_fit_end(self) -> None:
        (self.folder / f"rank{self.global_rank}.json").write_text(json.dumps(self.seen))

    @override
    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def trainer(tmp_path: Path, **arguments: Any) -> Trainer:
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    quiet |= {"enable_model_summary": False, "accelerator": "cpu", "max_epochs": 1, "default_root_dir": tmp_path}
    return Trainer(**{**quiet, **arguments})


def test_tokenizer_and_length_come_from_the_model(data: dict[str, Any], tokenizer: str, tmp_path: Path) -> None:
    del data["tokenizer"], data["max_length"]
    model = Recorder(tmp_path, tokenizer, context_length=37)
    module = InstructionDataModule(**data, too_long="truncate")
    trainer(tmp_path).fit(model, module)
    assert sorted(i for batch in model.seen["train"] for i in batch) == list(range(12))
    assert module.train_store.lengths(CONDITIONED).max() == 37
    # "# Request\nAsk 9\n\n# Reply\n" is 25 tokens of one byte, and "yes " four for each time.
    assert module.problems.counts == {"truncated": 4}
    # Another model brings another context: nothing of the first is used.
    trainer(tmp_path).fit(Recorder(tmp_path, tokenizer, context_length=38), module)
    assert module.train_store.lengths(CONDITIONED).max() == 38


def test_a_model_that_names_no_tokenizer(data: dict[str, Any], tmp_path: Path) -> None:
    del data["tokenizer"]
    with pytest.raises(ValueError, match=r"data\.tokenizer is not set and the model names none"):
        trainer(tmp_path).fit(Recorder(tmp_path), InstructionDataModule(**data))


def test_lightning_trains_and_validates_on_everything_once(data: dict[str, Any], tmp_path: Path) -> None:
    module = InstructionDataModule(**data, val_path=write_records(tmp_path / "val.jsonl", 5, "Other"), batch_size=5)
    model = Recorder(tmp_path)
    trainer(tmp_path, num_sanity_val_steps=0, max_epochs=2).fit(model, module)
    assert [len(b) for b in model.seen["train"]] == [5, 5, 2, 5, 5, 2]
    assert model.seen["val"] == [[0, 1, 2, 3, 4]] * 2


@pytest.mark.slow
def test_two_ranks_share_training_and_validation(data: dict[str, Any], tmp_path: Path) -> None:
    module = InstructionDataModule(**data, val_path=write_records(tmp_path / "val.jsonl", 7, "Other"), batch_size=4)
    run = trainer(tmp_path, devices=2, strategy="ddp_spawn", num_sanity_val_steps=0)
    run.fit(Recorder(tmp_path), module)
    seen = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert [[len(b) for b in s["train"]] for s in seen] == [[2, 2, 2], [2, 2, 2]]
    assert sorted(i for s in seen for b in s["train"] for i in b) == list(range(12))
    assert [s["val"] for s in seen] == [[[0, 2, 4, 6]], [[1, 3, 5]]]


def test_the_global_batch_must_divide_by_the_ranks(data: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InstructionDataModule, "_world", lambda self: (2, 1))
    with pytest.raises(ValueError, match=r"data\.batch_size=5 is the global batch and must divide by the 2 ranks"):
        opened(**data, batch_size=5)
    module = opened(**data, batch_size=4)
    assert [len(b) for b in module.train_dataloader()] == [2, 2, 2]
