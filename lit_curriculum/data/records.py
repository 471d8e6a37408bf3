"""Reads records from JSON, JSON lines, Parquet, folders of these, or a hub, and the examples of a split from them.

Records are not checked on reading: a record is any dictionary of the file, together with its location.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from lit_curriculum.data.formats import MalformedRecordError, has_empty_response, to_example
from lit_curriculum.data.json_files import Record, read_json, read_lines
from lit_curriculum.data.problems import ProblemPolicy, ProblemReport
from lit_curriculum.types import Example
from lit_curriculum.utils.hub import progress_if_interactive
from lit_curriculum.utils.progress import disable_dataset_progress, is_interactive

_HUB_ID = re.compile(r"(?P<name>[\w-][\w.-]*(/[\w-][\w.-]*)?)(:(?P<config>[\w.-]+))?(@(?P<split>[\w.+\[\]:%-]+))?")
_LINES = (".jsonl", ".ndjson")
_SUFFIXES = (".json", *_LINES, ".parquet")
Split = Literal["train", "val"]
Adapt = Callable[[Mapping[str, Any], str], Mapping[str, Any]]
"""From a record's fields and its place to the fields of a known layout; a :class:`MalformedRecordError` refuses it."""


def read_records(paths: Sequence[str]) -> Iterator[Record]:
    """All records of all ``paths``, in order.

    Args:
        paths: Files (``.json``, ``.jsonl``, ``.ndjson``, each also with ``.gz``, or ``.parquet``), folders of such
            files (read in the order of their names, subfolders included), or ids of data sets on the hub in the
            form ``owner/name``, ``owner/name:config`` or ``owner/name:config@split`` (split ``train`` by default).

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
    """The files that ``paths`` name, in reading order; ids of hub data sets name none.

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
    # datasets names the content of a data set by a fingerprint.
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
        with progress_if_interactive(), nullcontext() if is_interactive(sys.stderr) else disable_dataset_progress():
            return datasets.load_dataset(match["name"], name=match["config"], split=match["split"] or "train")
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ValueError(
            f"data.path/val_path: {path} is no file or folder here, and on the hub it could not be opened ({reason}); "
            "correct the path or download the data first."
        ) from error


def read_examples(
    paths: Sequence[str],
    policy: ProblemPolicy,
    report: ProblemReport,
    input_join: str = "\n\n",
    limit: int | None = None,
    split: Split | None = None,
    val_fraction: float = 0.0,
    adapt: Adapt | None = None,
) -> Iterator[Example]:
    """The examples of ``paths`` in order, one at a time.

    Args:
        paths: See :func:`~lit_curriculum.data.records.read_records`.
        policy: What to do about problems.
        report: Takes the account; of a file that is split, ``train`` answers for the records that cannot be read.
        input_join: Text between instruction and input.
        limit: Only the first so many records are read.
        split: Which side of the split by ``val_fraction`` is wanted; by default all there is.
        val_fraction: Share of the examples that belongs to ``val`` (see :func:`is_validation`).
        adapt: Turns a record of another layout into one that :func:`~lit_curriculum.data.formats.to_example` reads.

    Raises:
        ValueError: a path cannot be read, or there is a problem and the policy says ``error``.
    """
    first_at: dict[str, str] = {}
    for record in islice(read_records(paths), limit):
        reason, example = record.reason, None
        if record.fields is not None:
            try:
                fields = record.fields if adapt is None else adapt(record.fields, record.source)
                example = to_example(fields, record.source, input_join=input_join)
            except MalformedRecordError as error:
                reason = str(error)
        if example is None:
            if split != "val":
                report.num_read += 1
                name = (record.fields or {}).get("id")
                report.add(policy, "malformed", record.source, str(name or record.source), reason)
            continue
        if split is not None and is_validation(example.content_hash, val_fraction) != (split == "val"):
            continue
        report.num_read += 1
        if has_empty_response(example.messages):
            report.add(policy, "empty_response", example.source, example.id, "has an empty response")
            continue
        before = first_at.setdefault(example.content_hash, example.source)
        if before is not example.source:
            reason = f"says the same as {before}"
            if report.add(policy, "duplicate", example.source, example.id, reason) == "skip":
                continue
        yield example


def is_validation(content_hash: str, val_fraction: float) -> bool:
    """Whether an example belongs to validation: decided by its content hash alone, so duplicates stay together."""
    return int(content_hash[:13], 16) < val_fraction * 16**13


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
            yield from read_json(path)
        else:
            yield from read_lines(path)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"data.path/val_path: {path} cannot be read ({error}); the file is damaged or not permitted."
        ) from error


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
