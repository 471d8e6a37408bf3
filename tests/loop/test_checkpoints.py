"""A checkpoint is whole or absent, whatever happens while it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_curriculum import CurriculumCallback, UniformPolicy
from lit_curriculum.loop.checkpoints import AtomicCheckpointIO, ExceptionCheckpoint
from tests.callbacks.ledger_runs import KillAt
from tests.toy import ToyData, ToyModule, toy_trainer


def test_round_trip_and_no_left_overs(tmp_path: Path) -> None:
    AtomicCheckpointIO().save_checkpoint({"weights": torch.arange(3)}, tmp_path / "deep" / "a.ckpt")
    loaded = AtomicCheckpointIO().load_checkpoint(tmp_path / "deep" / "a.ckpt")
    assert loaded["weights"].tolist() == [0, 1, 2]
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.ckpt"]


def test_a_failing_write_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)

    def full(checkpoint: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, path)
    assert AtomicCheckpointIO().load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]


def test_a_truncated_or_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint({"weights": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"a.ckpt is truncated or not a checkpoint \(2000 bytes\)"):
        AtomicCheckpointIO().load_checkpoint(path)
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "b.ckpt")


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    torch.save({"thing": Path("x")}, tmp_path / "a.ckpt")
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "a.ckpt")


def test_a_run_without_ckpt_path_begins_anew_and_nothing_is_said_of_others(
    tmp_path: Path, toy_examples: list[Any], recwarn: pytest.WarningsRecorder
) -> None:
    """The exception's checkpoint stays until a run ends well."""

    def fit(*more: Any) -> ToyModule:
        callbacks = [CurriculumCallback(UniformPolicy()), ExceptionCheckpoint(str(tmp_path)), *more]
        callbacks.append(ModelCheckpoint(tmp_path, save_last=True))
        module = ToyModule()
        toy_trainer(tmp_path, 2, callbacks=callbacks, enable_checkpointing=True).fit(module, ToyData(toy_examples))
        return module

    with pytest.raises(RuntimeError, match="killed"):
        fit(KillAt(1, 1))
    assert {p.name for p in tmp_path.glob("*.ckpt")} >= {"exception.ckpt", "last.ckpt"}
    validated = toy_trainer(tmp_path, 1, callbacks=[ExceptionCheckpoint(str(tmp_path))], enable_checkpointing=True)
    validated.validate(ToyModule(), ToyData(toy_examples))
    assert (tmp_path / "exception.ckpt").exists()
    begun = fit()
    assert len(begun.losses) == 20, "both stages"
    assert not (tmp_path / "exception.ckpt").exists()
    said = [str(w.message) for w in recwarn]
    assert not [text for text in said if "called without a model" in text or "no last checkpoint" in text]
