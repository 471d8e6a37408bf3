"""Records of an evaluation file, each with its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lit_curriculum.data.json_files import read_json, read_lines


def list_files(path: Path) -> list[Path]:
    """The files of a folder by name, without those that begin with a dot; of a file, the file."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))


def read_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``(file:line, record)`` of a JSONL file, or of a JSON file with a list or lines of records; gzipped or not.

    Raises:
        ValueError: the file is missing or empty, or a record is no JSON object.
    """
    if not path.is_file():
        raise ValueError(f"evaluation data: there is no file {path}.")
    read = read_json if path.name.removesuffix(".gz").endswith(".json") else read_lines
    found = False
    for record in read(path):
        where = f"{path.name}{record.source.removeprefix(str(path))}"
        if record.fields is None:
            raise ValueError(f"{where}: the record {record.reason}.")
        found = True
        yield where, record.fields
    if not found:
        raise ValueError(f"evaluation data: {path} holds no record.")


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
