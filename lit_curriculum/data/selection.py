"""A selection that is on disk, served to any training loop: Hugging Face's Trainer, TRL or plain torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from torch.utils.data import Sampler

from lit_curriculum.data.formats import MalformedRecordError, content_hash, to_example
from lit_curriculum.types import Message
from lit_curriculum.utils.options import check_choice

Key = Literal["id", "content_hash"]


class SelectionSampler(Sampler[int]):
    """Serves the rows of a data set in the order of selection files, one file an epoch, or all of them in one epoch.

    Files are those of a run (``selection/stage-<s>.jsonl``) or of ``lit-curriculum select``. One file serves every
    epoch alike; several serve epoch 0, 1, ..., and ``set_epoch`` sets the epoch, as Trainers do. A Trainer that fixes
    the steps of an epoch before the first, as Hugging Face's does, needs files of one length; where stages differ, let
    it train one epoch of all files ``joined``. The order is the same on all ranks, and who wraps the sampler splits it.

    Args:
        files: A file, several in order, or a run's folder ``selection``.
        keys: [N] id or content hash (see :func:`content_hashes`) of every row of the data set.
        by: Whether ``keys`` are of kind ``id`` or ``content_hash``. Rows of equal content are one and the same.
        joined: One epoch holds all files, one after the other.
        ignore_weights: Serve a selection whose entries weigh differently, without its weights.

    Raises:
        ValueError: a file is missing, empty or no selection, names a row that the data set lacks or has twice, has
            weights, or files differ in length.
    """

    def __init__(
        self,
        files: str | Path | Sequence[str | Path],
        keys: Sequence[str],
        by: Key = "id",
        joined: bool = False,
        ignore_weights: bool = False,
    ) -> None:
        check_choice("SelectionSampler.by", by, get_args(Key))
        self.num_rows = len(keys)
        self.epoch = 0
        row_of = _rows_by_key(keys, by)
        orders = [_read(path, row_of, by, ignore_weights) for path in _paths(files)]
        lengths = sorted({len(order) for order in orders})
        if not joined and len(lengths) > 1:
            raise ValueError(
                f"the stages hold from {lengths[0]} to {lengths[-1]} entries, but a Trainer takes every epoch to be as "
                "long as the first; give SelectionSampler joined=True and train for one epoch."
            )
        self._orders = [[row for order in orders for row in order]] if joined else orders

    def set_epoch(self, epoch: int) -> None:
        """Serve the order of ``epoch`` from the next iteration on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._orders[0])

    def __iter__(self) -> Iterator[int]:
        if len(self._orders) > 1 and self.epoch >= len(self._orders):
            raise ValueError(
                f"epoch {self.epoch} (from 0) is not in a selection of {len(self._orders)} stages; train for "
                f"{len(self._orders)} epochs."
            )
        return iter(self._orders[self.epoch if len(self._orders) > 1 else 0])


def content_hashes(records: Iterable[Mapping[str, Any]], input_join: str = "\n\n") -> list[str]:
    """Content hash of every record, as a run has it of the same data, whatever their order.

    Args:
        records: Fields of instruction records (Alpaca, ``messages`` or ShareGPT).
        input_join: Text between instruction and input (``data.input_join`` of the run).

    Raises:
        ValueError: no example can be made of a record.
    """
    found = []
    for number, fields in enumerate(records):
        try:
            found.append(to_example(fields, f"record {number}", input_join=input_join).content_hash)
        except MalformedRecordError as error:
            raise ValueError(f"record {number} {error}; SelectionSampler cannot match it.") from error
    return found


def _paths(files: str | Path | Sequence[str | Path]) -> list[Path]:
    if not isinstance(files, (str, Path)):
        return [Path(file) for file in files]
    path = Path(files)
    if not path.is_dir():
        return [path]
    found = {int(p.stem.removeprefix("stage-")): p for p in path.glob("stage-*.jsonl")}
    if not found:
        raise ValueError(f"{path} holds no stage-<s>.jsonl; name the folder selection of a run, or a file.")
    missing = sorted(set(range(max(found) + 1)) - set(found))
    if missing:
        raise ValueError(f"{path} holds stage {max(found)} but not stage {missing[0]}; copy all files of the run.")
    return [found[stage] for stage in sorted(found)]


def _rows_by_key(keys: Sequence[str], by: Key) -> dict[str, int]:
    row_of: dict[str, int] = {}
    for row, key in enumerate(keys):
        if by == "id" and key in row_of:
            raise ValueError(
                f"rows {row_of[key]} and {row} of the data set have the same id {key!r}; make ids unique, or match by "
                "content_hash."
            )
        row_of.setdefault(key, row)
    return row_of


def _read(path: Path, row_of: Mapping[str, int], by: Key, ignore_weights: bool) -> list[int]:
    if not path.is_file():
        raise ValueError(f"there is no selection file {path}; write one with lit-curriculum select, or train.")
    order: list[int] = []
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, start=1):
            line = json.loads(text)
            key = _key(line, by)
            if key is None:
                raise ValueError(f"{path}:{number} has no field {by}; it is not a line of a selection.")
            if key not in row_of:
                raise ValueError(
                    f"{path}:{number} names {by} {key!r}, which none of the {len(row_of)} rows of the data set has; "
                    "give the data that the selection was made of."
                )
            if line.get("weight", 1.0) != 1.0 and not ignore_weights:
                raise ValueError(
                    f"{path}:{number} has weight {line['weight']}, and a sampler cannot weigh; train with Lightning, "
                    "or give SelectionSampler ignore_weights=True."
                )
            order.append(row_of[key])
    if not order:
        raise ValueError(f"{path} is empty; there is nothing to train on.")
    return order


def _key(line: Mapping[str, Any], by: Key) -> str | None:
    if by == "content_hash" and by not in line and "messages" in line:
        return content_hash([Message(role=m["role"], content=m["content"]) for m in line["messages"]])
    value = line.get(by)
    return None if value is None else str(value)
