"""Records of an evaluation file, each with its line number."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO


def list_files(path: Path) -> list[Path]:
    """The files of a folder by name, without those that begin with a dot; of a file, the file."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))


def read_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """``(file:line, record)`` of a JSONL file, gzip-compressed or not, or of a JSON file with a list of records.

    Raises:
        ValueError: the file is missing or empty, or a line is no JSON object.
    """
    if not path.is_file():
        raise ValueError(f"evaluation data: there is no file {path}.")
    found = False
    with _open(path) as file:
        if path.name.removesuffix(".gz").endswith(".json"):
            text = file.read()
            lines = _records_of_json(path, text)
        else:
            lines = ((n, line) for n, line in enumerate(file, 1) if line.strip())
        for number, line in lines:
            where = f"{path.name}:{number}"
            record = _object(line, where) if isinstance(line, str) else line
            if not isinstance(record, dict):
                raise ValueError(f"{where}: a record must be a JSON object, got {type(record).__name__}.")
            found = True
            yield where, record
    if not found:
        raise ValueError(f"evaluation data: {path} holds no record.")


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def need(record: dict[str, Any], name: str, where: str) -> Any:
    """A field that the format requires.

    Raises:
        ValueError: the record has no such field.
    """
    if name not in record:
        raise ValueError(f"{where}: the field {name} is missing; is this the right format for the file?")
    return record[name]


def others(record: dict[str, Any], *used: str) -> dict[str, Any]:
    """The record's fields beside those that were used."""
    return {name: value for name, value in record.items() if name not in used}


def _records_of_json(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """A list of records, or (as DoIT names its files) lines of them under a name that ends in .json."""
    if text.lstrip().startswith("["):
        yield from enumerate(json.loads(text), 1)
    else:
        yield from ((n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip())


def _object(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not valid JSON ({error.msg} at column {error.colno}).") from error
