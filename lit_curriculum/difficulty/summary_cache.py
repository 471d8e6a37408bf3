"""Cache of what a model computes for token sequences: files of one model in a folder, written batch by batch.

A sequence's summary depends on its tokens and on the model alone, so template, tokenizer and truncation need no
place in the key: they are in the tokens already.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lit_curriculum.difficulty.batching import ENGINE_VERSION, Digests
from lit_curriculum.types import BoolArray, FloatArray
from lit_curriculum.utils.hub import cache_dir

LIMIT_BYTES = 1 << 30
"""What all kept answers together may take on disk; one of a mean loss takes 40 bytes."""
_FORMAT = "summary-journal/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryKey:
    """What two summaries of a sequence have to share to be the same number."""

    model: str
    """From :func:`~lit_curriculum.difficulty.fingerprint.model_fingerprint`."""
    summary: str
    """``summary_id`` of the metric."""
    autocast: str
    """``none``, or the type that matrix products are taken in."""
    engine: str
    """Version of the scoring engine's arithmetic."""


class SummaryJournal:
    """Summaries of token sequences in an append-only file of fixed-size records.

    A record is digest (16 bytes), K float64, the number of records of its batch that follow, and a CRC-32 over all
    that. A batch is one write, so a process that is killed loses the batch in flight and no other. What is damaged
    at the end of the file, or belongs to a batch that is not whole, is cut off when the file is opened.

    Args:
        path: The file; made where there is none.
        key: What the summaries are of.
        readonly: Only read what is there, as for the file of another process.

    Raises:
        ValueError: the file is no journal, or of another key.
    """

    def __init__(self, path: Path, key: SummaryKey, readonly: bool = False) -> None:
        self.path, self.key, self.readonly = path, key, readonly
        self._width: int | None = None
        self._digests: Digests = np.empty((0, 2), dtype=np.uint64)
        self._values: FloatArray = np.empty((0, 0))
        self._learnt: list[tuple[Digests, FloatArray]] = []
        self._file: int | None = None
        self._end = 0
        if path.exists():
            self._read(path.read_bytes())

    def __len__(self) -> int:
        self._merge()
        return len(self._digests)

    def known(self, digests: Digests) -> tuple[BoolArray, FloatArray]:
        """Which of ``digests`` [U, 2] are known [U], and their summaries [num_known, K] in the order of ``digests``."""
        self._merge()
        place = np.searchsorted(self._digests[:, 0], digests[:, 0])
        inside = place < len(self._digests)
        place[~inside] = 0
        if not inside.any():
            return inside, self._values[:0]
        # Two sequences that share the first half of their digests count as unknown, which costs a forward pass.
        mask = inside & (self._digests[place] == digests).all(axis=1)
        return mask, self._values[place[mask]]

    def append(self, digests: Digests, values: FloatArray) -> None:
        """Write the summaries ``values`` [B, K] of one batch; they are known and safe when this returns."""
        assert not self.readonly, "this journal is another process's"
        if self._file is None:
            self._open(values.shape[1])
        records = np.zeros(len(digests), dtype=_record(values.shape[1]))
        records["digest"], records["values"] = digests, values
        records["left"] = np.arange(len(digests))[::-1]
        records["crc"] = _checksums(records)
        data = records.tobytes()
        assert self._file is not None
        written = os.write(self._file, data)
        if written != len(data):
            raise OSError(f"{self.path}: only {written} of {len(data)} bytes could be written; the disk may be full.")
        self.learn(digests, values)

    def learn(self, digests: Digests, values: FloatArray) -> None:
        """Know the summaries ``values`` [B, K] without writing them: another process does."""
        if len(digests):
            self._width = values.shape[1]
            self._learnt.append((digests, values))

    def close(self) -> None:
        """Close the file; what is known stays known."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self, width: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.ftruncate(self._file, self._end)
        os.lseek(self._file, self._end, os.SEEK_SET)
        if self._end == 0:
            header = {"format": _FORMAT, "width": width, **asdict(self.key)}
            os.write(self._file, json.dumps(header).encode() + b"\n")

    def _read(self, data: bytes) -> None:
        newline = data.find(b"\n")
        if newline < 0:
            return  # killed before the header was whole: there is nothing to keep
        header = self._header(data[:newline])
        self._width = int(header["width"])
        dtype = _record(self._width)
        start = newline + 1
        records = np.frombuffer(data, dtype=dtype, count=(len(data) - start) // dtype.itemsize, offset=start)
        bad = np.flatnonzero(_checksums(records) != records["crc"])
        records = records[: bad[0]] if len(bad) else records
        whole = np.flatnonzero(records["left"] == 0)
        records = records[: whole[-1] + 1] if len(whole) else records[:0]
        self._end = start + len(records) * dtype.itemsize
        self._digests, self._values = np.empty((0, 2), dtype=np.uint64), np.empty((0, self._width))
        self.learn(records["digest"].copy(), records["values"].copy())

    def _header(self, line: bytes) -> dict[str, Any]:
        try:
            header = json.loads(line)
        except ValueError:
            header = None
        if not isinstance(header, dict) or header.get("format") != _FORMAT:
            raise ValueError(f"{self.path} is no journal of summaries; name another folder or remove it.")
        for name, value in asdict(self.key).items():
            if header[name] != value:
                raise ValueError(
                    f"{self.path} holds summaries of another {name} ({header[name]}, now {value}); name another "
                    "folder, or remove it to score again."
                )
        return dict(header)

    def _merge(self) -> None:
        """Sort what was learnt into the table; of two summaries of a sequence the first stays."""
        if not self._learnt:
            return
        assert self._width is not None
        old = (self._digests, self._values.reshape(-1, self._width))
        digests, values = (np.concatenate(parts) for parts in zip(old, *self._learnt, strict=True))
        self._learnt = []
        order = np.lexsort((digests[:, 1], digests[:, 0]))
        ordered = digests[order]
        first = np.ones(len(order), dtype=np.bool_)
        first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        self._digests, self._values = ordered[first], values[order[first]]


class SummaryCache:
    """The journals of one model in a folder: one file a summary and process, all of them read, one's own written.

    Args:
        folder: Where the files are; made where there is none.
        model: From :func:`~lit_curriculum.difficulty.fingerprint.model_fingerprint`.
        autocast: ``none``, or the type that matrix products are taken in.
        writer: Name of this process among those that write to the folder: its rank, where they are of one run.
        prefer: Writers whose name starts with this are believed first, where several know a sequence.
        beside: A cache elsewhere of the same model and arithmetic, that everything is written to as well.
        read_beside: Whether what is known there, and not here, counts as known.

    Raises:
        ValueError: the folder holds summaries of another model, autocast or engine (when it is first asked for them).
    """

    def __init__(
        self, folder: Path, model: str, autocast: str = "none", writer: int | str = 0, prefer: str = "",
        beside: SummaryCache | None = None, read_beside: bool = False,
    ) -> None:  # fmt: skip
        self.folder, self.model, self.autocast, self.writer, self.prefer = folder, model, autocast, writer, prefer
        self.beside, self.read_beside = beside, read_beside
        self._journals: dict[str, list[SummaryJournal]] = {}

    @classmethod
    def shared(
        cls, root: Path, model: str, autocast: str = "none", writer: int | str = 0, purpose: str = "", prefer: str = ""
    ) -> SummaryCache:
        """The cache of one model (and ``purpose``) among those of many under ``root``."""
        name = hashlib.blake2b(f"{model} {autocast} {ENGINE_VERSION} {purpose}".encode(), digest_size=8).hexdigest()
        return cls(root / name, model, autocast, writer, prefer)

    def known(self, summaries: Sequence[str], digests: Digests) -> tuple[BoolArray, dict[str, FloatArray]]:
        """Which of ``digests`` [U, 2] have all of ``summaries`` [U], and these [num_known, K] in their order."""
        masks, values = [], []
        for summary in summaries:
            mask, table = np.zeros(len(digests), dtype=np.bool_), np.empty((len(digests), 0))
            for journal in self._journals_of(summary):
                found, rows = journal.known(digests)
                if not found.any():
                    continue
                if not table.shape[1]:
                    table = np.zeros((len(digests), rows.shape[1]))
                new = found & ~mask
                table[new] = rows[new[found]]
                mask |= new
            masks.append(mask)
            values.append(table)
        known = np.logical_and.reduce(masks)
        return known, {s: v[known] for s, v in zip(summaries, values, strict=True)}

    def append(self, digests: Digests, values: Mapping[str, FloatArray]) -> None:
        """Write the summaries [B, K] of one batch, by name."""
        for summary, rows in values.items():
            self._journals_of(summary)[0].append(digests, rows)
        if self.beside is not None:
            self.beside.append(digests, values)

    def learn(self, digests: Digests, values: Mapping[str, FloatArray]) -> None:
        """Know the summaries [B, K] that other processes write."""
        for summary, rows in values.items():
            self._journals_of(summary)[0].learn(digests, rows)

    def close(self) -> None:
        """Close all files."""
        for journals in self._journals.values():
            journals[0].close()
        if self.beside is not None:
            self.beside.close()

    def _journals_of(self, summary: str) -> list[SummaryJournal]:
        if summary not in self._journals:
            key = SummaryKey(model=self.model, summary=summary, autocast=self.autocast, engine=ENGINE_VERSION)
            stem = re.sub(r"[^A-Za-z0-9]+", "-", summary)
            own = self.folder / f"{stem}.{self.writer}.journal"
            others = [p for p in self.folder.glob(f"{stem}.*.journal") if p != own]
            others.sort(key=lambda p: (not p.name.startswith(f"{stem}.{self.prefer}"), p.name))
            found = [SummaryJournal(own, key), *(SummaryJournal(p, key, True) for p in others)]
            if self.beside is not None and self.read_beside:
                found += self.beside._journals_of(summary)
            self._journals[summary] = found
        return self._journals[summary]


def open_cache(
    own: str,
    fingerprint: str,
    device: torch.device,
    autocast: str,
    rank: int,
    home: Path | None = None,
    same_data_only: bool = False,
) -> SummaryCache:
    """Open the cache of a model's answers that all runs of a user share, and remove old files from it.

    Every process writes a separate file, and only if it computes something, so runs at the same time do not meet.

    Args:
        own: Name of what is asked in which batches.
        fingerprint: Of the model.
        device: What computes the answers.
        autocast: ``none``, or the type that matrix products are taken in.
        rank: Number of this process; rank 0 removes what is too much.
        home: Folder that the cache is in; by default the package's.
        same_data_only: Know only of runs of the same name.
    """
    root = (cache_dir() if home is None else home) / "summaries"
    kind = f"{device.type} {own}" if same_data_only else device.type
    writer = f"{own}-{socket.gethostname()}-{os.getpid()}-{rank}"
    cache = SummaryCache.shared(root, fingerprint, autocast, writer, kind, prefer=own)
    for path in cache.folder.glob("*.journal"):
        with suppress(FileNotFoundError):  # another run has just removed it
            os.utime(path)
    if rank == 0:
        _remove_oldest(root, own)
    return cache


def _remove_oldest(root: Path, spared: str) -> None:
    """Remove files, those that were used last at the end, until all take no more than :data:`LIMIT_BYTES`."""
    found = []
    for path in root.glob("*/*.journal"):
        with suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, path, path.stat().st_size))
    total = sum(size for _, _, size in found)
    for _, path, size in sorted(found):
        if total <= LIMIT_BYTES:
            return
        if spared not in path.name:
            path.unlink(missing_ok=True)
            total -= size


def _record(width: int) -> np.dtype[Any]:
    return np.dtype([("digest", "<u8", (2,)), ("values", "<f8", (width,)), ("left", "<u4"), ("crc", "<u4")])


def _checksums(records: NDArray[Any]) -> NDArray[np.uint32]:
    size = records.dtype.itemsize
    data = memoryview(records.tobytes())
    rows = range(0, len(records) * size, size)
    return np.fromiter((zlib.crc32(data[r : r + size - 4]) for r in rows), dtype=np.uint32, count=len(records))
