"""Scores on disk: a Parquet file that says of what and by what they are, and refuses to be taken for others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lit_curriculum import __version__
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import ExampleStore, FloatArray, IntArray
from lit_curriculum.utils.files import atomic_path

_META = b"lit_curriculum.scores"
_FIXED = ("id", "content_hash", "source", "ability")
_REASON = ".unscorable"
_ROWS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreKey:
    """What scores are of. Two files can be merged, or one used for a run, only where these agree."""

    data: str
    """Hash over the content hashes; shards of one data set differ in it and may be merged all the same."""
    model: str | None
    """Fingerprint of the weights; none where no model was asked, or a sharded one."""
    source: str
    """Where the model came from: a folder or hub id. For people; it is not compared."""
    encoding: Mapping[str, Any]
    """What made the tokens, in parts with names: tokenizer, chat template, ``data.max_length`` and other options."""
    dtype: str
    """Of the model's weights."""
    autocast: str
    """``none``, or the type that matrix products were taken in."""
    formulas: Mapping[str, str]
    """Metric -> formula id."""
    version: str
    """Of the package; compared, since a formula may be mended in between."""


class StoredScores:
    """Scores by content hash, with the key that says what they are.

    Args:
        key: What the scores are of.
        table: Columns ``id``, ``content_hash``, ``source``, ``ability``, and for each metric its scores (null where
            there is none) and ``<metric>.unscorable`` with the reason.
        path: Where they were read, for messages.
    """

    def __init__(self, key: ScoreKey, table: pa.Table, path: str = "scores") -> None:
        self.key, self.table, self.path = key, table, path

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics."""
        return list(self.key.formulas)

    def values(self, metric: str) -> FloatArray:
        """Scores [N] of ``metric`` in the order of the file; NaN where there is a reason instead."""
        column: FloatArray = self.table.column(metric).to_numpy().astype(np.float64)
        return column

    @property
    def content_hashes(self) -> NDArray[np.bytes_]:
        """Content hashes [N] in the order of the file."""
        return np.asarray(self.table.column("content_hash").to_numpy(zero_copy_only=False), dtype="S32")

    def check(self, expected: Mapping[str, Any]) -> None:
        """Refuse to be used where something else is expected.

        Args:
            expected: Fields of :class:`ScoreKey` that have to agree; ``formulas`` may name a part of the metrics.

        Raises:
            ValueError: names the first thing that differs, with both values.
        """
        for name, value in expected.items():
            mine = getattr(self.key, name)
            if name == "encoding":
                for part in sorted({*value, *mine}):
                    _compare(self.path, part, mine.get(part), value.get(part))
            elif name == "formulas":
                for metric, formula in value.items():
                    if metric not in mine:
                        raise ValueError(
                            f"{self.path} holds no scores of metric {metric!r}, only of {sorted(mine)}; score the data "
                            "with it (lit-curriculum score)."
                        )
                    _compare(self.path, f"formula of {metric!r}", mine[metric], formula)
            else:
                _compare(self.path, name, mine, value)

    def check_run(self, formulas: Mapping[str, str], examples: ExampleStore) -> None:
        """Refuse to be used for a run with another encoding, another formula or another version of the package.

        Args:
            formulas: Formula id of every metric of the run; stored scores may be of the bfloat16 form.
            examples: Data of the run.

        Raises:
            ValueError: names what differs.
        """
        expected = {
            name: f"{formula}+bf16" if self.key.autocast == "bfloat16" and mine.endswith("+bf16") else formula
            for name, formula in formulas.items()
            if (mine := self.key.formulas.get(name)) is not None
        }
        encoding = dict(getattr(examples, "identity", {}))
        self.check({"formulas": expected, "encoding": encoding, "version": __version__})

    def rows(self, examples: ExampleStore) -> IntArray:
        """Row of the file [N] of each example, found by content hash.

        Raises:
            ValueError: an example has no row.
        """
        mine = self.content_hashes
        order = np.argsort(mine, kind="stable")
        wanted = np.asarray(examples.content_hashes, dtype="S32")
        place = np.minimum(np.searchsorted(mine[order], wanted), max(len(mine) - 1, 0))
        found = np.zeros(len(wanted), dtype=np.bool_) if not len(mine) else mine[order[place]] == wanted
        if not found.all():
            first = examples[int(np.flatnonzero(~found)[0])]
            raise ValueError(
                f"{self.path} has no scores of {int((~found).sum())} of {len(wanted)} examples, first {first.id} "
                f"({first.source}); score these data (lit-curriculum score)."
            )
        rows: IntArray = order[place].astype(np.int64)
        return rows

    def enter(self, table: DifficultyTable, examples: ExampleStore, stage: int = 0) -> None:
        """Enter the scores of all metrics that ``table`` has and that are stored, as of ``stage``.

        Raises:
            ValueError: an example has no row.
        """
        rows = self.rows(examples)
        for metric in table.scores:
            if metric in self.key.formulas:
                table.enter(metric, np.arange(len(rows)), self.values(metric)[rows], stage)

    def save(self, path: Path) -> None:
        """Write the file; it is whole or absent."""
        metadata = {_META: json.dumps(asdict(self.key)).encode()}
        schema = self.table.schema.with_metadata(metadata)
        _write_whole(path, schema, self.table.cast(schema).to_batches(max_chunksize=_ROWS))


def write_scores(
    path: Path,
    key: ScoreKey,
    examples: ExampleStore,
    scores: Mapping[str, FloatArray],
    reasons: Mapping[str, Mapping[int, str]],
) -> None:
    """Write the scores of all examples, a part at a time; the file is whole or absent.

    Args:
        path: The Parquet file.
        key: What the scores are of.
        examples: N examples.
        scores: Metric -> scores [N], NaN where there is none.
        reasons: Metric -> example index -> why there is none.

    Raises:
        ValueError: a metric has the name of another column, or a score is missing without a reason.
    """
    for metric, values in scores.items():
        if metric in _FIXED or metric.endswith(_REASON):
            raise ValueError(f"curriculum.metrics: {metric!r} is the name of another column; choose another name.")
        unexplained = [int(i) for i in np.flatnonzero(~np.isfinite(values)) if int(i) not in reasons.get(metric, {})]
        if unexplained:
            raise ValueError(
                f"metric {metric!r} gave NaN or infinite for {len(unexplained)} of {len(values)} examples, first "
                f"{examples[unexplained[0]].id}, without a reason; nothing is written."
            )
    fields = [(name, pa.string()) for name in _FIXED]
    for metric in scores:
        fields += [(metric, pa.float64()), (metric + _REASON, pa.string())]
    schema = pa.schema(fields, metadata={_META: json.dumps(asdict(key)).encode()})
    _write_whole(path, schema, _batches(schema, examples, scores, reasons))


def read_scores(path: Path) -> StoredScores:
    """Read a file of scores.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no file of scores.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; lit-curriculum score --out DIR writes DIR/scores.parquet.")
    try:
        table = pq.read_table(path)
        saved = json.loads((table.schema.metadata or {})[_META])
    except (pa.ArrowInvalid, KeyError):
        raise ValueError(
            f"{path} is no file of scores that lit-curriculum score wrote; name DIR/scores.parquet."
        ) from None
    return StoredScores(ScoreKey(**saved), table, str(path))


def _compare(path: str, name: str, mine: Any, wanted: Any) -> None:
    if mine != wanted:
        raise ValueError(
            f"{path} holds scores of another {name}: {mine!r} there, {wanted!r} here; score these data with this "
            "configuration (lit-curriculum score)."
        )


def _batches(
    schema: pa.Schema,
    examples: ExampleStore,
    scores: Mapping[str, FloatArray],
    reasons: Mapping[str, Mapping[int, str]],
) -> Iterator[pa.RecordBatch]:
    for low in range(0, len(examples), _ROWS):
        rows = range(low, min(low + _ROWS, len(examples)))
        found = [examples[i] for i in rows]
        columns: dict[str, Any] = {name: [getattr(e, name) for e in found] for name in _FIXED}
        for metric, values in scores.items():
            part = values[low : low + _ROWS]
            columns[metric] = pa.array(part, mask=np.isnan(part))
            columns[metric + _REASON] = [reasons.get(metric, {}).get(i) for i in rows]
        yield pa.record_batch(columns, schema=schema)


def _write_whole(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch] | list[pa.RecordBatch]) -> None:
    with atomic_path(path) as draft, pq.ParquetWriter(draft, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def merge_scores(parts: Sequence[StoredScores]) -> StoredScores:
    """One set of scores from several, by content hash; where an example is in two, they have to say the same.

    Raises:
        ValueError: the parts are of different models, encodings or formulas, or differ about an example.
    """
    first = parts[0]
    for part in parts[1:]:
        part.check({n: v for n, v in asdict(first.key).items() if n not in ("data", "source", "formulas")})
        if dict(part.key.formulas) != dict(first.key.formulas):
            raise ValueError(
                f"{part.path} holds {dict(part.key.formulas)}, but {first.path} {dict(first.key.formulas)}; scores "
                "of different formulas cannot be merged."
            )
    table = pa.concat_tables([part.table.replace_schema_metadata(None) for part in parts])
    hashes = StoredScores(first.key, table).content_hashes
    order = np.argsort(hashes, kind="stable")
    equal = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    left, right = table.take(order[equal]), table.take(order[equal + 1])
    for metric in first.key.formulas:
        one, two = (t.column(metric).to_numpy() for t in (left, right))
        differs = np.flatnonzero(~((one == two) | (np.isnan(one) & np.isnan(two))))
        if len(differs):
            row = int(differs[0])
            raise ValueError(
                f"two scores of {metric!r} differ for the same example: {one[row]} for {left['id'][row].as_py()!r}, "
                f"{two[row]} for {right['id'][row].as_py()!r}; they are not of one model, or one file is damaged."
            )
    # Equal examples of one file stay; those that an earlier part holds already go.
    part_of = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    home = np.empty(len(hashes), dtype=np.int64)
    starts = np.flatnonzero(np.append(True, hashes[order][1:] != hashes[order][:-1]))
    home[order] = np.repeat(part_of[order][starts], np.diff(np.append(starts, len(order))))
    table = table.take(np.flatnonzero(home == part_of))
    data = "+".join(sorted({d for part in parts for d in part.key.data.split("+")}))
    fields = asdict(first.key) | {"data": data}
    return StoredScores(ScoreKey(**fields), table, " + ".join(p.path for p in parts))
