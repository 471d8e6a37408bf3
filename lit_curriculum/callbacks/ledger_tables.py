"""Builds and writes the tables of the ledger; :mod:`lit_curriculum.report.ledger` describes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lit_curriculum.data.problems import ProblemReport
from lit_curriculum.data.store import EncodedStore
from lit_curriculum.loop.planner import StageReport
from lit_curriculum.report.ledger import STAGE_META, StageState
from lit_curriculum.types import CONDITIONED, BoolArray, ExampleStore, FloatArray, IntArray, Plan, join_turns
from lit_curriculum.utils.files import atomic_path

IDENTITY = ("id", "content_hash", "source", "ability")


def example_columns(store: ExampleStore, indices: IntArray) -> dict[str, list[str | None]]:
    """Columns :data:`IDENTITY` of the examples ``indices`` [K]: name -> [K] values."""
    if isinstance(store, EncodedStore):
        found: dict[str, list[str | None]] = store.columns(IDENTITY, indices).to_pydict()
        return found
    examples = [store[i] for i in indices.tolist()]
    return {name: [getattr(e, name) for e in examples] for name in IDENTITY}


def texts(store: ExampleStore, start: int, stop: int) -> tuple[list[str], list[str]]:
    """Instructions and responses of the examples from ``start`` to before ``stop``."""
    if not isinstance(store, EncodedStore):
        examples = [store[i] for i in range(start, stop)]
        return [e.instruction for e in examples], [e.response for e in examples]
    rows = store.columns(("roles", "contents"), np.arange(start, stop)).to_pydict()
    turns = [list(zip(*row, strict=True)) for row in zip(rows["roles"], rows["contents"], strict=True)]
    return [join_turns("user", turn) for turn in turns], [join_turns("assistant", turn) for turn in turns]


_ROWS = 1 << 16
_TEXT_CHARS = 200  # kept of instruction and response, to read and to search
EXAMPLE = pa.schema(
    [
        ("index", pa.int32()), ("id", pa.string()), ("content_hash", pa.string()), ("source", pa.string()),
        ("ability", pa.string()), ("tokens", pa.int32()), ("scored_tokens", pa.int32()), ("instruction", pa.string()),
        ("response", pa.string()),
    ]
)  # fmt: skip
PROBLEM = pa.schema([(name, pa.string()) for name in ("kind", "source", "id", "reason", "action")])


def state_of(report: StageReport) -> StageState:
    """State of all examples at the decision for a stage."""
    table, plan = report.table, report.plan
    n = table.num_examples
    candidate = np.zeros(n, np.bool_)
    candidate[report.candidates] = True
    place = np.full(n, -1, np.int32)
    place[plan.indices[::-1]] = np.arange(len(plan), dtype=np.int32)[::-1]
    return StageState(
        stage=report.stage,
        scores={m: values.copy() for m, values in table.scores.items()},
        scored_at={m: stages.copy() for m, stages in table.scored_at.items()},
        candidate=candidate,
        times=report.times,
        place=place,
        reason=report.reasons.codes,
        reasons=report.reasons.texts,
    )


def moved(metric: str, now: StageState, before: StageState | None) -> BoolArray:
    """[N] true where an example's score by ``metric``, or the stage of the score, has changed."""
    differs = np.ones(len(now.times), np.bool_)
    if before is not None:
        new, old = now.scores[metric][: len(before.times)], before.scores[metric]
        differs[: len(old)] = (new != old) & ~(np.isnan(new) & np.isnan(old))
        differs[: len(old)] |= now.scored_at[metric][: len(old)] != before.scored_at[metric]
    return differs


def planned_table(now: StageState, before: StageState | None, plan: Plan) -> pa.Table:
    """Table of ``planned/stage-<s>.parquet``.

    Args:
        now: State at this decision.
        before: State at the decision before; none at first.
        plan: The plan of this decision.
    """
    differs = now.times > 0
    if before is None:
        differs[:] = True
    else:
        old = slice(0, len(before.times))
        differs[len(before.times) :] = True
        differs[old] |= (before.times > 0) | (before.candidate != now.candidate[old])
        codes = {text: code for code, text in enumerate(now.reasons)}
        differs[old] |= np.array([codes.get(t, -1) for t in before.reasons])[before.reason] != now.reason[old]
    fresh = {metric: moved(metric, now, before) for metric in now.scores}
    rows: IntArray = np.flatnonzero(np.logical_or.reduce([differs, *fresh.values()]))
    columns: dict[str, Any] = {"index": pa.array(rows.astype(np.int32))}
    for metric in [m for m in fresh if fresh[m].any()]:
        scores = now.scores[metric][rows]
        columns[f"score.{metric}"] = pa.array(scores, mask=np.isnan(scores))
        columns[f"scored_at.{metric}"] = pa.array(now.scored_at[metric][rows])
    columns["candidate"] = pa.array(now.candidate[rows])
    # Sorted by example and then by place, so that the places of each row are adjacent.
    by_example = np.argsort(plan.indices, kind="stable").astype(np.int32)
    ends = np.concatenate([[0], np.cumsum(now.times[rows])]).astype(np.int32)
    columns["places"] = pa.ListArray.from_arrays(pa.array(ends), pa.array(by_example))
    weight = np.full(len(now.times), np.nan, np.float32)
    if plan.weights is not None:
        weight[plan.indices] = plan.weights
    columns["weight"] = pa.array(weight[rows], mask=np.isnan(weight[rows]))
    columns["reason"] = pa.DictionaryArray.from_arrays(pa.array(now.reason[rows]), pa.array(now.reasons))
    return pa.table(columns)


def planned_info(report: StageReport, step: int) -> dict[str, Any]:
    """Facts of the whole decision, stored beside the rows."""
    learning = report.learning
    return {
        "stage": report.stage, "step": step, "selected": len(report.plan), "candidates": len(report.candidates),
        "scored_tokens": report.scored_tokens, "scoring_seconds": report.scoring_seconds,
        "selecting_seconds": report.selecting_seconds, "learning_seconds": learning.seconds,
        "generated_tokens": learning.generated_tokens, "learning_forward_tokens": learning.forward_tokens,
        "scalars": {k: float(v) for k, v in report.scalars.items()},
    }  # fmt: skip


def trained_table(entries: IntArray, indices: IntArray, losses: FloatArray) -> pa.Table:
    """Table of ``trained/stage-<s>.parquet``.

    Args:
        entries: Indices of the entries that were trained on, with repeats.
        indices: [K] examples with a loss, rising.
        losses: [K] their last losses.
    """
    trained, times = np.unique(entries, return_counts=True)
    loss = np.full(len(trained), np.nan)
    place = np.minimum(np.searchsorted(indices, trained), max(len(indices) - 1, 0))
    known = indices[place] == trained if len(indices) else np.zeros(len(trained), np.bool_)
    loss[known] = losses[place[known]]
    return pa.table(
        {
            "index": pa.array(trained.astype(np.int32)),
            "times": pa.array(times.astype(np.int32)),
            "loss": pa.array(loss.astype(np.float32), mask=~known),
        }
    )


def example_tables(store: ExampleStore, start: int) -> Iterator[pa.RecordBatch]:
    """Yield the examples from index ``start`` on, in batches."""
    tokens, scored = store.lengths(CONDITIONED), store.num_scored(CONDITIONED)
    for low in range(start, len(store), _ROWS):
        high = min(low + _ROWS, len(store))
        indices = np.arange(low, high)
        instructions, responses = texts(store, low, high)
        columns = [
            indices.astype(np.int32), *example_columns(store, indices).values(), tokens[low:high].astype(np.int32),
            scored[low:high].astype(np.int32), [_shortened(t) for t in instructions],
            [_shortened(t) for t in responses],
        ]  # fmt: skip
        arrays = [pa.array(c, f.type) for c, f in zip(columns, EXAMPLE, strict=True)]
        yield pa.record_batch(arrays, schema=EXAMPLE)


def problem_table(report: ProblemReport | None) -> pa.Table:
    """Table of ``dropped.parquet``; empty where the data module reports no problems."""
    problems = [] if report is None else report.problems
    return pa.table({name: [str(getattr(p, name)) for p in problems] for name in PROBLEM.names}, schema=PROBLEM)


def write_part(path: Path, batches: Sequence[pa.RecordBatch] | Iterator[pa.RecordBatch], schema: pa.Schema,
               info: Mapping[str, Any] | None = None) -> None:  # fmt: skip
    """Write a Parquet file atomically.

    Args:
        path: The file.
        batches: Its rows.
        schema: Its columns.
        info: Facts stored as JSON in the file's metadata.
    """
    schema = schema.with_metadata({} if info is None else {STAGE_META: json.dumps(dict(info)).encode()})
    words = {"ability", "candidate", "weight", "kind", "action", "reason", "times"}
    few = [name for name in schema.names if name in words or name.startswith("scored_at.")]
    encodings = {"index": "DELTA_BINARY_PACKED", "places.list.element": "DELTA_BINARY_PACKED"}
    encodings |= {n: "BYTE_STREAM_SPLIT" for n in schema.names if n.startswith("score.") or n == "loss"}
    encodings = {n: e for n, e in encodings.items() if n.split(".list")[0] in schema.names}
    with (
        atomic_path(path, fsync=True) as draft,
        pq.ParquetWriter(draft, schema, compression="zstd", use_dictionary=few, column_encoding=encodings) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)


def _shortened(text: str) -> str:
    return text if len(text) <= _TEXT_CHARS else text[:_TEXT_CHARS] + "…"
