"""Reads records from JSON and JSON lines, each with its line number."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
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


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")


def read_lines(path: Path) -> Iterator[Record]:
    """The records of a JSONL file, gzipped or not; empty lines are passed over."""
    with _open(path) as file:
        for number, raw in enumerate(file, start=1):
            line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
            if line.strip():
                yield _parse_line(line, f"{path}:{number}")


def _parse_line(line: bytes, source: str) -> Record:
    try:
        value = json.loads(line.decode().rstrip())
    except UnicodeDecodeError:
        return Record(source, None, "is not UTF-8 text")
    except json.JSONDecodeError as error:
        return Record(source, None, f"is not JSON ({error.msg} at column {error.colno})")
    except RecursionError:
        return Record(source, None, "is nested too deeply")
    return _record(value, source)


def _record(value: Any, source: str) -> Record:
    if isinstance(value, dict):
        return Record(source, value)
    return Record(source, None, f"is a JSON {type(value).__name__}, not an object with fields")


def read_json(path: Path) -> Iterator[Record]:
    """A list of records, an object with the list under ``data``, or JSON lines under another name."""
    with _open(path) as file:
        try:
            text = file.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"data.path/val_path: {path} is not UTF-8 text (byte {error.start}); convert it."
            ) from error
    start = _skip(text, 0, " \t\r\n")
    if text[start : start + 1] == "[":
        yield from _read_list(text, start + 1, path)
        return
    value, end = _decode(text, start, path)
    if _skip(text, end, " \t\r\n") < len(text):
        # Many published .json files are JSON lines.
        yield from read_lines(path)
    elif isinstance(value, dict) and isinstance(value.get("data"), list):
        for number, item in enumerate(value["data"], start=1):
            yield _record(item, f"{path}:data[{number}]")
    else:
        yield _record(value, f"{path}:1")


def _read_list(text: str, position: int, path: Path) -> Iterator[Record]:
    # Decoded item by item, because only so the line of each is known.
    line, counted, before = 1, 0, 0
    position = _skip(text, position, " \t\r\n")
    for number in itertools.count(1):
        if text[position : position + 1] == "]":
            return
        line += text.count("\n", counted, position)
        counted = position
        value, end = _decode(text, position, path)
        # A list on one line: a record that follows another there is found by its number.
        yield _record(value, f"{path}:[{number}]" if line == before else f"{path}:{line}")
        before = line + text.count("\n", position, end)
        position = _skip(text, end, " \t\r\n")
        if text[position : position + 1] == ",":
            position = _skip(text, position + 1, " \t\r\n")
        elif text[position : position + 1] != "]":
            raise _broken(text, position, path, "expected ',' or ']' after a record")


def _decode(text: str, position: int, path: Path) -> tuple[Any, int]:
    try:
        return json.JSONDecoder().raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise _broken(text, error.pos, path, error.msg) from error


def _broken(text: str, position: int, path: Path, reason: str) -> ValueError:
    line = text.count("\n", 0, position) + 1
    return ValueError(
        f"{path}:{line}: the file is not valid JSON from here on ({reason}), and its next records cannot be located; "
        "repair it, or store one record a line as .jsonl so that data.malformed: skip can pass over bad ones."
    )


def _skip(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position
