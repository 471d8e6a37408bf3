"""Checkpoint files: atomic writes, a checkpoint on exceptions, and the newest one to resume from."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from typing_extensions import override

from lit_curriculum.loop.callback import find_curriculum
from lit_curriculum.loop.hooks import run_folder
from lit_curriculum.loop.resume import RESUMABLE
from lit_curriculum.utils.files import atomic_path


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically; loads them with ``weights_only`` and refuses truncated files.

    Lightning's default writes to the system's temporary folder and moves the file. A move to another file system is
    a copy, so a kill in the middle leaves half a checkpoint under the final name.
    """

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        # An open file, since torch would put the name of a path into the checkpoint.
        with atomic_path(Path(path), fsync=True) as draft, draft.open("wb") as file:
            torch.save(checkpoint, file)

    @override
    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, loc: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        check_readable(Path(path))
        loaded: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only is None or weights_only)
        return loaded


class ExceptionCheckpoint(Checkpoint):
    """Saves a checkpoint when an exception or a signal ends training, if a run can resume from it exactly.

    A run that fails before it has restored its state, or in the middle of an optimizer step, leaves the last good
    checkpoint as it is. The file is removed when the run ends well.

    Unlike Lightning's ``OnExceptionCheckpoint``, it does not make a ``fit`` without a checkpoint resume from the last
    one found.

    Args:
        dirpath: Folder to write to; by default ``checkpoints`` in the logger's folder.
    """

    def __init__(self, dirpath: str | None = None) -> None:
        self.dirpath = dirpath

    @property
    def ckpt_path(self) -> Path:
        """Path of the checkpoint; known after ``setup``."""
        assert self.dirpath is not None
        return Path(self.dirpath) / "exception.ckpt"

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.dirpath is None:
            self.dirpath = str(run_folder(trainer) / "checkpoints")

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        curriculum = find_curriculum(trainer)
        if trainer.training and (curriculum is None or curriculum.progress.is_resumable(trainer)):
            trainer.save_checkpoint(self.ckpt_path)

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":  # validation and prediction do not end the run
            trainer.strategy.remove_checkpoint(self.ckpt_path)


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint below ``folder`` that a run can resume from, or none."""
    found = sorted(folder.rglob("*.ckpt"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    for path in found:
        # A sharded checkpoint is a folder; everything but the weights is in one file, which is written last.
        file = path / "meta.pt" if path.is_dir() else path
        if zipfile.is_zipfile(file):
            state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            if state.get(RESUMABLE, True):
                return path
    return None


def check_readable(path: Path) -> None:
    """Refuse a checkpoint file that is missing or truncated.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated or not a checkpoint.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}; check ckpt_path.")
    if path.is_file() and not zipfile.is_zipfile(path):
        raise ValueError(
            f"checkpoint {path} is truncated or not a checkpoint ({path.stat().st_size} bytes); resume from an "
            "earlier one."
        )
