"""The judge's scores of the student's answers, kept as they come: a judging that was killed is not begun again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lit_curriculum.distill.journal import append_journal, read_journal
from lit_curriculum.distill.roles import JudgeItem, Judgement, PairJudge, Usage
from lit_curriculum.distill.rounds import Roles
from lit_curriculum.types import ExampleStore, IntArray

_CHUNK = 64
"""Items between two writes to disk."""


def judgement_state(judgement: Judgement) -> dict[str, Any]:
    """The judgement as plain values, for a checkpoint or a file."""
    return {**asdict(judgement), "raw": list(judgement.raw)}


def judgement_from_state(state: dict[str, Any]) -> Judgement:
    """The judgement that :func:`judgement_state` was made of."""
    fields = {name: value for name, value in state.items() if name != "key"}
    return Judgement(**{**fields, "raw": tuple(state["raw"]), "usage": Usage(**state["usage"])})


def judge_items(
    judge: PairJudge, items: Sequence[JudgeItem], path: Path, progress: Callable[[int, int], None] | None = None
) -> list[Judgement]:
    """One judgement for each item; those that the file holds are not asked for.

    Args:
        judge: Asked for what is missing, some dozens of items at a time.
        items: What to compare.
        path: File of judgements, of this judge and of others.
        progress: Told (items judged, items to judge) after every write.
    """
    keys = [hashlib.sha256(json.dumps([judge.version, *item]).encode()).hexdigest() for item in items]
    known = {r["key"]: judgement_from_state(r) for r in read_journal(path)}
    missing = list({k: i for k, i in zip(keys, items, strict=True) if k not in known}.items())
    for start in range(0, len(missing), _CHUNK):
        part = missing[start : start + _CHUNK]
        found = judge.judge([item for _, item in part])
        new = {key: judgement for (key, _), judgement in zip(part, found, strict=True)}
        append_journal(path, [{"key": k, **judgement_state(j)} for k, j in new.items()])
        known |= new
        if progress is not None:
            progress(start + len(part), len(missing))
    return [known[key] for key in keys]


def judge_rows(
    roles: Roles, store: ExampleStore, indices: IntArray, answers: Sequence[str], path: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[Judgement]:  # fmt: skip
    """The judge's scores of the student's answers to the examples ``indices`` [K] beside those in the data.

    Args:
        roles: The judge is asked; its costs are counted, those of judgements that were made before a kill too.
        store: The data.
        indices: Examples.
        answers: The student's, one for each.
        path: See :func:`judge_items`.
        progress: Likewise.
    """
    examples = [store[int(i)] for i in indices]
    items = [JudgeItem(e.instruction, e.response, a) for e, a in zip(examples, answers, strict=True)]
    found = judge_items(roles.judge, items, path, progress)
    for judgement in dict(zip(items, found, strict=True)).values():  # equal items were asked once
        roles.costs.add("judge", judgement.usage, int(not judgement.valid))
    return found
