"""The ledger of a run: what every example scored, when, whether it was chosen, why, and what training on it showed.

A run writes the folder ``ledger/`` as it goes, and every file in it is whole or absent:

``ledger.json``
    ``version``; ``policy`` (its class); ``batch_size``; ``num_stages`` (at most); ``metrics``: name ->
    ``formula``, ``unit``, ``higher_is_harder``; ``required_metrics`` (the metrics that the policy reads).
``examples/stage-<s>.parquet``
    One row for each example that came into the data before stage s (most of them before stage 0), by rising index:
    ``index``, ``id``, ``content_hash``, ``source``, ``ability``, ``tokens``, ``scored_tokens`` (the response's),
    ``instruction`` and ``response`` (their beginnings).
``dropped.parquet``
    One row for each record with a problem: ``kind``, ``source``, ``id``, ``reason``, ``action`` (``skip`` left it
    out, ``keep`` and ``truncate`` did not).
``planned/stage-<s>.parquet``
    What was decided before stage s. One row for each example of which anything differs from its row before; no row
    means that all is as it was and that the example was not chosen. So the state at s of an example is its last row
    up to s: :meth:`Ledger.state` does this. Columns: ``index``; ``score.<metric>`` (null: none) and
    ``scored_at.<metric>`` (the stage whose model it is of; -1: never looked at), both left out where they are as
    before for all examples; ``candidate`` (scored for this
    decision); ``places`` (list: places in the stage's order, from 0; empty where it was not chosen, several where it
    is repeated); ``weight`` (in the loss; null where all are 1); ``reason``. The metadata key ``stage`` holds JSON:
    ``stage``, ``step``, ``selected``, ``candidates``, ``scored_tokens``, ``scoring_seconds``, ``selecting_seconds``,
    ``learning_seconds``, ``generated_tokens``, ``learning_forward_tokens``, and ``scalars``, what the policy and
    learned metrics report.
``trained/stage-<s>.parquet``
    What training did in stage s, written when it ended; one row for each example trained on, by rising index:
    ``index``, ``times``, ``loss`` (nats per scored token, the last in this stage; null where the module shows none).
    Metadata key ``stage``: ``stage``, ``entries`` (of the plan that were trained on), ``planned``, ``tokens``,
    ``scored_tokens``, ``seconds`` (of training steps), ``last_step``.

Ranks are not stored: :func:`ranks` makes them from the scores.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

VERSION = 2
FOLDER, INFO, DROPPED = "ledger", "ledger.json", "dropped.parquet"
EXAMPLES, PLANNED, TRAINED = "examples", "planned", "trained"
STAGE_META = b"stage"
NEVER = -1

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class StageState:
    """All N examples as of the decision before a stage."""

    stage: int
    scores: dict[str, NDArray[np.float64]]
    """Metric -> [N]; NaN where there is none."""
    scored_at: dict[str, NDArray[np.int32]]
    """Metric -> [N] stage whose model the score is of; -1 where it was never looked at."""
    candidate: NDArray[np.bool_]
    """[N] scored for this decision."""
    times: NDArray[np.int32]
    """[N] entries in the stage's plan; 0: not chosen."""
    place: NDArray[np.int32]
    """[N] first place in the stage's order, from 0; -1: not chosen."""
    reason: NDArray[np.int32]
    """[N] which of :attr:`reasons` holds."""
    reasons: list[str]

    @property
    def chosen(self) -> NDArray[np.int64]:
        """[K] the distinct examples of the stage, in the order of their first places."""
        found = np.flatnonzero(self.place >= 0)
        return found[np.argsort(self.place[found])]


class Ledger:
    """Reads the ledger of a run, finished or not.

    Args:
        folder: Folder of the run, or its ``ledger``.

    Raises:
        FileNotFoundError: there is no ledger in the folder.
        ValueError: it was written by another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER if (folder / FOLDER / INFO).exists() else folder
        path = self.folder / INFO
        if not path.exists():
            raise FileNotFoundError(
                f"{folder} has no ledger ({FOLDER}/{INFO}); name the folder of a run that was trained with "
                "LedgerWriter among trainer.callbacks, as configs/base.yaml has it."
            )
        self.info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if self.info["version"] != VERSION:
            raise ValueError(f"{path} is of version {self.info['version']} and cannot be read; expected {VERSION}.")

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics."""
        return list(self.info["metrics"])

    @property
    def stages(self) -> list[int]:
        """Stages that have been planned."""
        return stages_in(self.folder / PLANNED)

    @property
    def trained_stages(self) -> list[int]:
        """Stages whose training has ended."""
        return stages_in(self.folder / TRAINED)

    def examples(self, columns: Sequence[str] | None = None, stage: int | None = None) -> pa.Table:
        """The examples by rising index; with ``stage``, those that were there before it."""
        parts = [s for s in stages_in(self.folder / EXAMPLES) if stage is None or s <= stage]
        wanted = None if columns is None else list(columns)
        return pa.concat_tables(pq.read_table(part(self.folder, EXAMPLES, s), columns=wanted) for s in parts)

    def dropped(self) -> pa.Table:
        """The records that had a problem; ``action`` is ``skip`` for those that were left out."""
        return pq.read_table(self.folder / DROPPED)

    def planned_info(self, stage: int) -> dict[str, Any]:
        """What is stored of the decision as a whole."""
        return _stage_info(self._existing(PLANNED, stage))

    def trained_info(self, stage: int) -> dict[str, Any]:
        """What is stored of the stage's training as a whole."""
        return _stage_info(self._existing(TRAINED, stage))

    def changes(self, stage: int) -> pa.Table:
        """The rows that were written before ``stage``, as they are."""
        return pq.read_table(self._existing(PLANNED, stage))

    def trained(self, stage: int) -> pa.Table:
        """The examples that were trained on in ``stage``."""
        return pq.read_table(self._existing(TRAINED, stage))

    def order(self, stage: int) -> NDArray[np.int64]:
        """[M] what the stage trains on, in order and with repeats."""
        return order_of(self.changes(stage))

    def num_examples(self, stage: int) -> int:
        """Examples in the data before ``stage``."""
        parts = [s for s in stages_in(self.folder / EXAMPLES) if s <= stage]
        return sum(pq.read_metadata(part(self.folder, EXAMPLES, s)).num_rows for s in parts)

    def state(self, stage: int) -> StageState:
        """All examples as of the decision before ``stage``; reads the parts up to it."""
        return next(self.states([stage]))

    def states(self, wanted: Sequence[int] | None = None) -> Iterator[StageState]:
        """The states of the stages ``wanted``, by default all planned ones, rising; no part is read twice."""
        wanted = self.stages if wanted is None else wanted
        for stage in wanted:
            self._existing(PLANNED, stage)
        columns: dict[str, Array] = {"place": np.empty(0, np.int32), "times": np.empty(0, np.int32)}
        columns |= {"candidate": np.empty(0, np.bool_), "reason": np.empty(0, np.int32)}
        columns |= {f"score.{m}": np.empty(0, np.float64) for m in self.metrics}
        columns |= {f"scored_at.{m}": np.empty(0, np.int32) for m in self.metrics}
        none = dict.fromkeys(columns, 0) | {f"score.{m}": np.nan for m in self.metrics}
        none |= {f"scored_at.{m}": NEVER for m in self.metrics}
        known: dict[str, int] = {}
        for stage in [s for s in self.stages if s <= max(wanted, default=NEVER)]:
            rows = self.changes(stage)
            more = self.num_examples(stage) - len(columns["place"])
            columns = {k: np.append(v, np.full(more, none[k], v.dtype)) for k, v in columns.items()}
            columns["place"][:], columns["times"][:] = -1, 0
            index = rows.column("index").to_numpy()
            coded = rows.column("reason").combine_chunks().dictionary_encode()
            codes = np.array([known.setdefault(t, len(known)) for t in coded.dictionary.to_pylist()], dtype=np.int32)
            columns["reason"][index] = codes[coded.indices.to_numpy()]
            columns["times"][index] = pc.list_value_length(rows.column("places")).to_numpy()
            chosen = rows.filter(pc.greater(pc.list_value_length(rows.column("places")), 0))
            columns["place"][chosen.column("index").to_numpy()] = pc.list_element(chosen.column("places"), 0).to_numpy()
            for name in [n for n in columns if n in rows.column_names and n != "reason"]:
                columns[name][index] = rows.column(name).to_numpy()
            if stage in wanted:
                scores, scored_at = (
                    {m: columns[f"{kind}.{m}"] for m in self.metrics} for kind in ("score", "scored_at")
                )
                rest = {name: columns[name] for name in ("candidate", "times", "place", "reason")}
                yield StageState(stage=stage, scores=scores, scored_at=scored_at, reasons=list(known), **rest)

    def times_trained(self) -> NDArray[np.int64]:
        """[N] how often each example was trained on in all stages that have ended."""
        total = np.zeros(self.num_examples(max(self.stages)), np.int64)
        for stage in self.trained_stages:
            rows = self.trained(stage)
            total[rows.column("index").to_numpy()] += rows.column("times").to_numpy()
        return total

    def _existing(self, kind: str, stage: int) -> Path:
        path = part(self.folder, kind, stage)
        if not path.exists():
            have = stages_in(self.folder / kind)
            raise ValueError(f"stage {stage} is not in the ledger {self.folder}: {kind} there are the stages {have}.")
        return path


def part(folder: Path, kind: str, stage: int) -> Path:
    """Path of one part of the ledger in ``folder``."""
    return folder / kind / f"stage-{stage}.parquet"


def stages_in(folder: Path) -> list[int]:
    """Stages of which there is a part in ``folder``, rising."""
    names = (re.fullmatch(r"stage-(\d+)\.parquet", p.name) for p in folder.glob("stage-*.parquet"))
    return sorted(int(name[1]) for name in names if name)


def order_of(planned: pa.Table) -> NDArray[np.int64]:
    """[M] example indices in the order of a stage, from the rows planned."""
    places = planned.column("places").combine_chunks()
    owners = planned.column("index").to_numpy()[pc.list_parent_indices(places).to_numpy()]
    order: NDArray[np.int64] = owners[np.argsort(pc.list_flatten(places).to_numpy())].astype(np.int64)
    return order


def ranks(scores: NDArray[np.float64], higher_is_harder: bool = True) -> NDArray[np.int64]:
    """[N] place of each score from the hardest, 1, on; equal scores share the best of theirs; 0 where there is none."""
    hardness = -scores if higher_is_harder else scores
    known = np.isfinite(hardness)
    ordered = np.sort(hardness[known])
    found = np.zeros(len(scores), np.int64)
    found[known] = np.searchsorted(ordered, hardness[known], side="left") + 1
    return found


def _stage_info(path: Path) -> dict[str, Any]:
    info: dict[str, Any] = json.loads(pq.read_schema(path).metadata[STAGE_META])
    return info
