"""Reads records from JSON, JSON lines, Parquet, folders of these, or a data set of a hub, one at a time.

Nothing is judged here: a record is whatever dictionary the file holds, together with the place it stands in.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Json = dict[str, Any]

_HUB_ID = re.compile(r"(?P<name>[\w-][\w.-]*(/[\w-][\w.-]*)?)(:(?P<config>[\w.-]+))?(@(?P<split>[\w.+\[\]:%-]+))?")
_LINES = (".jsonl", ".ndjson")
_SUFFIXES = (".json", *_LINES, ".parquet")


class Record(NamedTuple):
    """One record, or the reason why there is none at this place."""

    source: str
    """``file:line`` (JSON), ``file:row`` (Parquet) or ``name:row`` (hub), counted from 1."""
    fields: Json | None
    """The record's fields; none where it cannot be read."""
    reason: str = ""
    """Why it cannot be read."""


def read_records(paths: Sequence[str]) -> Iterator[Record]:
    """All records of all ``paths``, in order.

    Args:
        paths: Files (``.json``, ``.jsonl``, ``.ndjson``, each also with ``.gz``, or ``.parquet``), folders of such
            files (read in the order of their names, subfolders included), or ids of data sets on the hub in the
            form ``owner/name``, ``owner/name:config`` or ``owner/name:config@split`` (split ``train`` unless said).

    Raises:
        ValueError: a path does not exist or cannot be reached, or a file is broken as a whole.
    """
    for path in paths:
        if is_hub_id(path):
            rows = open_hub(path)
            yield from (Record(f"{path}:{row}", dict(fields)) for row, fields in enumerate(rows, start=1))
            continue
        for file in list_files([path]):
            yield from _read_file(file)


def list_files(paths: Sequence[str]) -> list[Path]:
    """The files that ``paths`` stand for, in reading order; ids of hub data sets stand for none.

    Raises:
        ValueError: a path does not exist, a folder holds no data file, or a file has another format.
    """
    files: list[Path] = []
    for name in paths:
        path = Path(name)
        if is_hub_id(name):
            continue
        if path.is_dir():
            inside = sorted(
                p for p in path.rglob("*") if p.is_file() and _format(p) and not p.name.startswith((".", "_"))
            )
            if not inside:
                raise ValueError(f"data.path/val_path: the folder {name} holds no file that ends in {_endings()}.")
            files.extend(inside)
        elif not path.exists():
            raise ValueError(f"data.path/val_path: there is no file or folder {name}; correct the path.")
        elif not _format(path):
            raise ValueError(f"data.path/val_path: {name} has none of the endings {_endings()}; convert or rename it.")
        else:
            files.append(path)
    return files


def identify(paths: Sequence[str]) -> list[Any]:
    """What changes whenever the data behind ``paths`` change, known without reading them; plain JSON.

    Raises:
        ValueError: a path does not exist or cannot be reached.
    """
    files = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in list_files(paths)]
    # datasets gives the content of a data set a name of its own.
    return [list(paths), files, [open_hub(p)._fingerprint for p in paths if is_hub_id(p)]]


def is_hub_id(path: str) -> bool:
    """Whether ``path`` can only be meant as a data set on the hub: nothing lies there and it looks like an id."""
    return not Path(path).exists() and not _format(Path(path)) and _HUB_ID.fullmatch(path) is not None


def open_hub(path: str) -> Any:
    """The ``datasets.Dataset`` of a hub id (see :func:`read_records`); downloaded once, then from its cache.

    Raises:
        ValueError: it cannot be reached or does not exist.
    """
    import datasets  # costs a second, and most runs read files

    match = _HUB_ID.fullmatch(path)
    assert match is not None
    try:
        return datasets.load_dataset(match["name"], name=match["config"], split=match["split"] or "train")
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ValueError(
            f"data.path/val_path: {path} is no file or folder here, and on the hub it could not be opened ({reason}); "
            "correct the path or download the data first."
        ) from error


def _format(path: Path) -> str | None:
    name = path.name.lower()
    stem = name.removesuffix(".gz")
    for suffix in _SUFFIXES:
        if stem.endswith(suffix) and not (suffix == ".parquet" and name.endswith(".gz")):
            return suffix
    return None


def _endings() -> str:
    return ", ".join((*_SUFFIXES[:-1], *(f"{s}.gz" for s in _SUFFIXES[:-1]), _SUFFIXES[-1]))


def _read_file(path: Path) -> Iterator[Record]:
    kind = _format(path)
    try:
        if kind == ".parquet":
            yield from _read_parquet(path)
        elif kind == ".json":
            yield from _read_json(path)
        else:
            yield from _read_lines(path)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"data.path/val_path: {path} cannot be read ({error}); the file is damaged or not permitted."
        ) from error


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")


def _read_lines(path: Path) -> Iterator[Record]:
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


def _read_json(path: Path) -> Iterator[Record]:
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
        yield from _read_lines(path)
    elif isinstance(value, dict) and isinstance(value.get("data"), list):
        for number, item in enumerate(value["data"], start=1):
            yield _record(item, f"{path}:data[{number}]")
    else:
        yield _record(value, f"{path}:1")


def _read_list(text: str, position: int, path: Path) -> Iterator[Record]:
    # Decoded item by item, because only so the line of each is known.
    line, counted = 1, 0
    position = _skip(text, position, " \t\r\n")
    while text[position : position + 1] != "]":
        line += text.count("\n", counted, position)
        counted = position
        value, end = _decode(text, position, path)
        yield _record(value, f"{path}:{line}")
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
        f"{path}:{line}: the file is not valid JSON from here on ({reason}), and what follows cannot be told apart; "
        "mend it, or store one record a line as .jsonl so that data.malformed: skip can pass over bad ones."
    )


def _skip(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position


def _read_parquet(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        row = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for fields in batch.to_pylist():
                    row += 1
                    yield Record(f"{path}:{row}", fields)
    except pa.ArrowException as error:
        raise ValueError(
            f"data.path/val_path: {path} cannot be read as Parquet ({str(error).splitlines()[0]})."
        ) from error
