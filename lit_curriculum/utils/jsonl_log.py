"""A file of JSON objects that only grows, a line each: what was paid for in time or money outlives a crash in it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)


class AppendOnlyFile:
    """Takes in the lines of a file, also those that others add to it, and appends to it.

    A line that was cut off by a crash, or that ``take`` cannot read, is reported with its number and left out; what is
    appended after it begins on a line of its own.

    Args:
        path: The file; it and its folder are made where they do not exist.
        take: Called with each line's object, in order and once; ValueError, KeyError or TypeError refuse it.
        what: What a line is, for the report: "reply" or "answer".
    """

    def __init__(self, path: str | Path, take: Callable[[Any], None], what: str) -> None:
        self.path, self.what = Path(path), what
        self.num_torn = 0
        """Lines that could not be read."""
        self._take = take
        self._end, self._num_lines, self._ends_mid_line = 0, 0, False  # what is known of the file

    def refresh(self) -> None:
        """Take in the lines that were written, here or elsewhere, since the last time."""
        if not self.path.exists() or self.path.stat().st_size <= self._end:
            return
        with self.path.open("rb") as file:
            file.seek(self._end)
            content = file.read()
        self._end += len(content)
        if self._ends_mid_line:
            content = content.removeprefix(b"\n")
        self._ends_mid_line = not content.endswith(b"\n")
        for line in content.splitlines():
            self._num_lines += 1
            if not line:
                continue  # two writers have both ended the same cut line
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError):
                self.num_torn += 1
                _log.warning(
                    "%s:%d is no complete %s (a crash cut it off); it is left out, and its question will be asked "
                    "again if it comes up.",
                    self.path,
                    self._num_lines,
                    self.what,
                )

    def append(self, entries: Sequence[Any]) -> None:
        """Write ``entries`` in one piece; when this returns they are on disk and taken in."""
        if not entries:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        with self.path.open("ab", buffering=0) as file:
            file.write((("\n" if self._ends_mid_line else "") + lines).encode())
            os.fsync(file.fileno())
        self.refresh()


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file, none where there is no file; what a kill has cut off is left out."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def append_journal(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Append records; when this returns they are on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    # The leading newline parts the first record from one that a kill has cut off.
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" + lines)
        file.flush()
        os.fsync(file.fileno())
