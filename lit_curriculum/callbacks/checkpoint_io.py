"""Checkpoint files that are either whole or absent."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from typing_extensions import override


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, flushes to disk, then renames; reads with ``weights_only`` and refuses a torn file.

    Lightning's own writer goes through the system's temporary folder, and a move from there to another file
    system is a copy: killed in the middle, it leaves half a checkpoint under the final name.
    """

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

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
