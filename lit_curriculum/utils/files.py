"""Atomic writes: a file or folder is whole or absent, whatever interrupts the writer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path, fsync: bool = False) -> Iterator[Path]:
    """Yield a draft path beside ``path``; rename the draft when the block ends, and remove it on an error.

    The block writes a file or makes a folder there. A file that exists under ``path`` is replaced. A folder that
    another process has put there meanwhile stays, so writers of one folder have to make the same content.

    Args:
        path: Where the file or folder goes; parent folders are made.
        fsync: Flush a file to disk before it is renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        yield draft
        if fsync:
            with draft.open("rb") as file:
                os.fsync(file.fileno())
        try:
            draft.replace(path)
        except OSError:
            if not (draft.is_dir() and path.is_dir()):
                raise
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


def write_atomic(path: Path, text: str) -> None:
    """Write a UTF-8 text file as a whole, or leave the old one."""
    with atomic_path(path) as draft:
        draft.write_text(text, encoding="utf-8")
