"""Checkpoint files that are either whole or absent."""

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

from lit_curriculum.loop.callback import CurriculumCallback
from lit_curriculum.loop.resume import CONTINUABLE
from lit_curriculum.utils.files import atomic_path


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, flushes to disk, then renames; reads with ``weights_only`` and refuses a torn file.

    Lightning's own writer goes through the system's temporary folder, and a move from there to another file
    system is a copy: killed in the middle, it leaves half a checkpoint under the final name.
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
    """Saves a checkpoint when an exception or a signal ends training, unless it could not be continued.

    So the last good checkpoint is never replaced by one of a run that failed before it had restored anything, or in
    the middle of an optimizer step. It is removed when the run ends well.

    It is none of Lightning's ``OnExceptionCheckpoint``: beside one of these, ``fit`` without a checkpoint goes on from
    the last it finds where it was asked to begin, and warns of a model that was not given.

    Args:
        dirpath: Folder to write to; by default ``checkpoints`` in the logger's folder.
        filename: Name of the file, without its ending.
    """

    def __init__(self, dirpath: str | None = None, filename: str = "exception") -> None:
        self.dirpath, self.filename = dirpath, filename

    @property
    def ckpt_path(self) -> Path:
        """Where the checkpoint is written; known once the run has its folder."""
        assert self.dirpath is not None
        return Path(self.dirpath) / f"{self.filename}.ckpt"

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.dirpath is None:
            self.dirpath = str(Path(trainer.log_dir or trainer.default_root_dir) / "checkpoints")

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        curricula = [c for c in trainer.callbacks if isinstance(c, CurriculumCallback)]  # type: ignore[attr-defined]
        if trainer.training and all(c.progress.continuable(trainer) for c in curricula):
            trainer.save_checkpoint(self.ckpt_path)

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":  # another stage says nothing of how the run ended
            trainer.strategy.remove_checkpoint(self.ckpt_path)


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint below ``folder`` that a run can be continued from, or none."""
    found = sorted(folder.rglob("*.ckpt"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    for path in found:
        # A sharded checkpoint is a folder; what is not a weight is in one file of it, written last.
        file = path / "meta.pt" if path.is_dir() else path
        if zipfile.is_zipfile(file):
            state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            if state.get(CONTINUABLE, True):
                return path
    return None


def check_readable(path: Path) -> None:
    """Refuse a checkpoint file that is missing or cut short.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no whole checkpoint.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}; check ckpt_path.")
    if path.is_file() and not zipfile.is_zipfile(path):
        raise ValueError(
            f"checkpoint {path} is truncated or no checkpoint at all ({path.stat().st_size} bytes); resume from an "
            "earlier one."
        )
