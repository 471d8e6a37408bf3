"""Records that are appended to a file of JSON lines as they come, so that a kill loses none but the last."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


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
