"""What the model has said of token sequences, on disk as it comes: nothing that was computed is computed twice.

A sequence's summary depends on its tokens and on the model alone, so template, tokenizer and truncation need no
place in the key: they are in the tokens already.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.difficulty.batching import Digests
from lit_curriculum.types import BoolArray, FloatArray

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


def _record(width: int) -> np.dtype[Any]:
    return np.dtype([("digest", "<u8", (2,)), ("values", "<f8", (width,)), ("left", "<u4"), ("crc", "<u4")])


def _checksums(records: NDArray[Any]) -> NDArray[np.uint32]:
    size = records.dtype.itemsize
    data = memoryview(records.tobytes())
    rows = range(0, len(records) * size, size)
    return np.fromiter((zlib.crc32(data[r : r + size - 4]) for r in rows), dtype=np.uint32, count=len(records))
