"""Reads the examples of a split from disk or hub, every problem counted and located."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

from lit_curriculum.data.formats import MalformedRecordError, has_empty_response, to_example
from lit_curriculum.data.problems import ProblemPolicy, ProblemReport
from lit_curriculum.data.records import read_records
from lit_curriculum.types import Example

Split = Literal["train", "val"]
Adapt = Callable[[Mapping[str, Any], str], Mapping[str, Any]]
"""From a record's fields and its place to the fields of a known layout; a :class:`MalformedRecordError` refuses it."""


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
