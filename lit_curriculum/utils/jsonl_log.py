"""An append-only file of JSON objects, so that a crash loses no answer or measurement that was paid for."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

_log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")


class JsonlLog(Generic[K, V]):
    """A keyed log with one JSON object a line, shared by any number of processes.

    A last line that a crash has cut off is reported and ignored; the next append removes it. A broken line before the
    last is refused. Appends are locked, so that several processes may write where the file system has locks.

    Args:
        path: The file; it and its folder are made by the first append.
        parse: Makes key and value of a line's object. It is called once for each line, in order; ValueError, KeyError
            or TypeError refuse the line.
        what: What a line is, for messages: "reply" or "cell".
        header: Object of the first line, such as the options that all entries share.

    Attributes:
        entries: Key -> value; of several lines with one key the last counts.

    Raises:
        ValueError: a line before the last is broken, ``parse`` refuses a line, or the file has another header.
    """

    def __init__(
        self,
        path: str | Path,
        parse: Callable[[dict[str, Any]], tuple[K, V]],
        what: str,
        header: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.what = Path(path), what
        self.entries: dict[K, V] = {}
        self._header: dict[str, Any] | None = None if header is None else json.loads(json.dumps(header))
        self._parse = parse
        self._end, self._num_lines = 0, 0  # bytes and line ends that have been read
        self.refresh()
        if self.path.exists() and self.path.stat().st_size > self._end:
            _log.warning(
                "%s:%d is no complete %s: a crash cut it off. It is ignored, and made again when it is needed.",
                self.path,
                self._num_lines + 1,
                what,
            )

    def refresh(self) -> None:
        """Read the lines that were appended here or by others since the last read."""
        if self.path.exists():
            with self.path.open("rb") as file:
                self._read(file)

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write and parse ``rows``; they are on disk when this returns."""
        if not rows:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            with contextlib.suppress(OSError):  # a file system without locks: fine with one writer at a time
                fcntl.flock(file, fcntl.LOCK_EX)
            self._read(file)
            # Writers hold the lock, so what is left belongs to a dead one.
            file.truncate(self._end)
            lines = [self._header, *rows] if self._end == 0 and self._header is not None else rows
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            file.write(("" if self._ends_a_line(file) else "\n").encode() + text.encode())
            file.flush()
            os.fsync(file.fileno())
            self._read(file)

    def _read(self, file: BinaryIO) -> None:
        file.seek(self._end)
        for line in file:
            if not line.endswith(b"\n") and not _is_object(line):
                break  # cut off, or another process is still writing it
            if line.strip():
                self._take(line)
            self._num_lines += line.endswith(b"\n")
            self._end += len(line)

    def _take(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise TypeError("it is no JSON object")
            is_header = self._end == 0 and self._header is not None
            if not is_header:
                key, value = self._parse(row)
                self.entries[key] = value
        except (ValueError, KeyError, TypeError) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(
                f"{self.path}:{self._num_lines + 1} is no {self.what} ({reason}); the file is damaged: restore it, or "
                "delete this line."
            ) from error
        if is_header and row != self._header:
            raise ValueError(f"{self.path} is of other options ({json.dumps(row)}); name another file or folder.")

    def _ends_a_line(self, file: BinaryIO) -> bool:
        if self._end == 0:
            return True
        file.seek(self._end - 1)
        return file.read(1) == b"\n"


def _is_object(line: bytes) -> bool:
    """Whether a line without an end is whole all the same."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
