"""What reading a file yields: a record with its place, or the reason why there is none."""

from __future__ import annotations

from typing import Any, NamedTuple

Json = dict[str, Any]


class Record(NamedTuple):
    """One record, or the reason why there is none at this place."""

    source: str
    """``file:line`` (JSON), ``file:[number]`` behind another record on a line, ``file:row`` (Parquet) or ``name:row``
    (hub), counted from 1."""
    fields: Json | None
    """The record's fields; none where it cannot be read."""
    reason: str = ""
    """Why it cannot be read."""
