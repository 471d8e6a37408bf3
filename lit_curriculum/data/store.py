"""The encoded examples of a data set: memory-mapped Arrow files, read one row at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from operator import index as as_index
from pathlib import Path
from typing import Any, overload

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lit_curriculum.data.problems import ProblemReport
from lit_curriculum.types import CONDITIONED, UNCONDITIONED, EncodedView, Example, ExampleStore, IntArray, Message

DATA, INFO, PROBLEMS = "data", "info.json", "problems.json"
_Ragged = tuple[NDArray[np.int32], NDArray[np.int32]]


class AbilityColumn(Sequence[str | None]):
    """Ability of each example as a code into a short list of names."""

    def __init__(self, codes: NDArray[np.int32], names: tuple[str, ...]) -> None:
        self.codes = codes
        """[N] int32 index into :attr:`names`, -1 where the example has none."""
        self.names = names
        """The abilities that occur, in the order of their first example."""

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, index: int) -> str | None: ...
    @overload
    def __getitem__(self, index: slice) -> AbilityColumn: ...
    def __getitem__(self, index: int | slice) -> str | AbilityColumn | None:
        if isinstance(index, slice):
            return AbilityColumn(self.codes[index], self.names)
        code = self.codes[index]
        return None if code < 0 else self.names[code]


class EncodedStore:
    """The examples in folders that :func:`~lit_curriculum.data.cache.build_store` wrote, as an ``ExampleStore``.

    Nothing but a few numbers an example is held in memory. Pickled, it is the list of its folders.

    Args:
        folders: The parts, in order; the indices run on from one to the next.

    Raises:
        ValueError: the parts were encoded differently.
    """

    def __init__(self, folders: Sequence[Path | str]) -> None:
        self.folders: list[Path] = []
        self._infos: list[dict[str, Any]] = []
        self._batches: list[pa.RecordBatch] = []
        self._starts = np.zeros(1, dtype=np.int64)
        self._ragged: dict[tuple[int, str], _Ragged] = {}
        for folder in folders:
            self._add(Path(folder))

    def __reduce__(self) -> tuple[Any, ...]:
        return EncodedStore, (self.folders,)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int, /) -> Example:
        batch, row = self._locate(index)
        fields = {c: self._batches[batch].column(c)[row].as_py() for c in _TEXT_COLUMNS}
        pairs = zip(fields["roles"], fields["contents"], strict=True)
        return Example(
            index=as_index(index),
            id=fields["id"],
            messages=tuple(Message(role=role, content=content) for role, content in pairs),
            content_hash=fields["content_hash"],
            ability=fields["ability"],
            source=fields["source"],
            meta=json.loads(fields["meta"]),
        )

    def encoded(self, index: int, view: str, /) -> EncodedView:
        """The tokens of one view of one example; ``input_ids`` is read-only memory of the file."""
        batch, row = self._locate(index)
        ids = _slice(self._column(batch, f"{_checked(view)}_ids"), row)
        scored = np.zeros(len(ids), dtype=np.bool_)
        for start, end in _slice(self._column(batch, f"{view}_spans"), row).reshape(-1, 2):
            scored[start:end] = True
        return EncodedView(ids, scored)

    def columns(self, names: Sequence[str], indices: IntArray) -> pa.Table:
        """[K] rows of some columns (``id``, ``source``, ``content_hash``, ``ability``, ``roles``, ``contents``).

        All are read at once, which is far faster than one example after the other.
        """
        return pa.Table.from_batches([b.select(list(names)) for b in self._batches]).take(indices)

    @cached_property
    def content_hashes(self) -> NDArray[np.bytes_]:
        """[N] content hashes."""
        return np.concatenate([np.frombuffer(_flat_text(b.column("content_hash")), "S32") for b in self._batches])

    @cached_property
    def abilities(self) -> AbilityColumn:
        """[N] ability of each example; ``codes`` and ``names`` give it as numbers."""
        encoded = pa.chunked_array([b.column("ability") for b in self._batches]).combine_chunks().dictionary_encode()
        codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int32)
        return AbilityColumn(codes, tuple(encoded.dictionary.to_pylist()))

    def lengths(self, view: str, /) -> IntArray:
        """[N] number of tokens of ``view``."""
        name = f"{_checked(view)}_ids"
        offsets = [self._column(b, name)[0] for b in range(len(self._batches))]
        return np.concatenate([np.diff(o) for o in offsets]).astype(np.int64)

    def num_scored(self, view: str, /) -> IntArray:
        """[N] number of scored tokens of ``view``."""
        name = f"{_checked(view)}_num_scored"
        return np.concatenate([b.column(name).to_numpy() for b in self._batches]).astype(np.int64)

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits over the data and everything that made its tokens."""
        prints = [str(info["fingerprint"]) for info in self._infos]
        return prints[0] if len(prints) == 1 else hashlib.blake2b("".join(prints).encode(), digest_size=16).hexdigest()

    @property
    def encoding(self) -> str:
        """Fingerprint of the encoder that made the tokens."""
        return str(self._infos[0]["encoding"])

    @property
    def identity(self) -> dict[str, Any]:
        """What made the tokens, in parts with names: tokenizer, template, options."""
        return dict(self._infos[0]["identity"])

    @property
    def problems(self) -> ProblemReport:
        """Account of the problems of all parts."""
        report = ProblemReport()
        for folder in self.folders:
            report.extend(ProblemReport.load(folder / PROBLEMS))
        return report

    def append(self, other: EncodedStore) -> None:
        """Put the examples of ``other`` behind these; no index changes.

        Raises:
            ValueError: ``other`` was encoded with another tokenizer, template or option.
        """
        for folder in other.folders:
            self._add(folder)

    def _add(self, folder: Path) -> None:
        info = json.loads((folder / INFO).read_text(encoding="utf-8"))
        if self._infos and info["encoding"] != self.encoding:
            raise ValueError(
                f"the examples in {folder} were encoded with another tokenizer, template or option than those in "
                f"{self.folders[0]}; encode them again with the options of the first."
            )
        batches = datasets.load_from_disk(folder / DATA).data.table.to_batches()
        self.folders.append(folder)
        self._infos.append(info)
        self._batches.extend(batches)
        self._starts = np.concatenate((self._starts, self._starts[-1] + np.cumsum([len(b) for b in batches])))
        for name in ("content_hashes", "abilities"):
            self.__dict__.pop(name, None)

    def _locate(self, index: int) -> tuple[int, int]:
        row = as_index(index)
        if not 0 <= row < len(self):
            raise IndexError(f"example {row} is outside the data of {len(self)} examples.")
        batch = int(np.searchsorted(self._starts, row, side="right")) - 1
        return batch, row - int(self._starts[batch])

    def _column(self, batch: int, name: str) -> _Ragged:
        found = self._ragged.get((batch, name))
        if found is None:
            column = self._batches[batch].column(name)
            found = column.offsets.to_numpy(), column.values.to_numpy()
            self._ragged[batch, name] = found
        return found


def content_digest(store: ExampleStore, size: int = 16) -> str:
    """``size`` bytes, in hexadecimal digits, over all content hashes in order: the data, however encoded."""
    return hashlib.blake2b(store.content_hashes.tobytes(), digest_size=size).hexdigest()


_TEXT_COLUMNS = ("id", "source", "content_hash", "ability", "roles", "contents", "meta")


def _slice(column: _Ragged, row: int) -> NDArray[np.int32]:
    offsets, values = column
    return values[offsets[row] : offsets[row + 1]]


def _checked(view: str) -> str:
    if view not in (CONDITIONED, UNCONDITIONED):
        raise ValueError(f"there is no view {view!r} of the data; there are {CONDITIONED} and {UNCONDITIONED}.")
    return view


def _flat_text(column: pa.StringArray) -> Any:
    """The characters of a column of texts, one behind the other, without copying."""
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
    return memoryview(column.buffers()[2])[offsets[0] : offsets[-1]]
