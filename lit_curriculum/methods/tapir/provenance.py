"""Records of TAPIR's rounds: where every example comes from and what it cost, in checkpoints and as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lit_curriculum.data.append import new_example
from lit_curriculum.methods.tapir.difficulty import ModelFittingDifficulty
from lit_curriculum.methods.tapir.judging import judgement_from_state, judgement_state
from lit_curriculum.methods.tapir.roles import Judgement, ProvenanceRow, TaskItem, Usage
from lit_curriculum.methods.tapir.rounds import FoundTask, Roles, model_of, task_of, version_of
from lit_curriculum.types import Example, ExampleStore, FloatArray, IntArray, Plan
from lit_curriculum.utils.files import atomic_path, write_atomic

_VERSION = 3


@dataclass(slots=True)
class RoundRecords:
    """Everything that a resumed run could not compute again without asking."""

    round: int = 0
    """The last round whose data are ready."""
    judged_round: int = 0
    """The last round before which the student was judged."""
    answered: bool = False
    """Whether the teacher has answered the raw instructions."""
    rows: list[ProvenanceRow] = field(default_factory=list)
    """What has been appended, in the order of the indices."""
    replaces: list[int | None] = field(default_factory=list)
    """Index of the example that each of ``rows`` replaces."""
    refined: set[int] = field(default_factory=set)
    """Raw examples that the refiner has seen."""
    judged: dict[int, tuple[str, Judgement]] = field(default_factory=dict)
    """The student's last answer and its scores, by index, with what all judgements of the example have cost."""
    classified: bool = False
    """Whether tasks have been found for the raw examples without one."""
    tasks: dict[int, FoundTask] = field(default_factory=dict)
    """Those tasks, by index."""

    def enter_judged(self, found: Mapping[int, tuple[str, Judgement]]) -> None:
        """Keep new judgements in the place of older ones, whose cost stays."""
        for index, (text, judgement) in found.items():
            before = self.judged[index][1].usage if index in self.judged else Usage()
            self.judged[index] = (text, replace(judgement, usage=judgement.usage + before))

    def state_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "version": _VERSION, "round": self.round, "judged_round": self.judged_round,
            "answered": self.answered, "refined": sorted(self.refined),
            "rows": [row_state(row) for row in self.rows], "replaces": self.replaces,
            "judged": [[index, text, judgement_state(j)] for index, (text, j) in self.judged.items()],
            "classified": self.classified,
            "tasks": [[index, t.task, t.probability, asdict(t.usage)] for index, t in self.tasks.items()],
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`.

        Raises:
            ValueError: it is of another version.
        """
        if state["version"] != _VERSION:
            raise ValueError(f"TAPIR state of version {state['version']} cannot be read; expected {_VERSION}.")
        self.round, self.judged_round = state["round"], state["judged_round"]
        self.answered = state["answered"]
        self.rows = [row_from_state(row) for row in state["rows"]]
        self.replaces, self.refined = list(state["replaces"]), set(state["refined"])
        self.judged = {index: (text, judgement_from_state(j)) for index, text, j in state["judged"]}
        self.classified = state["classified"]
        self.tasks = {index: FoundTask(task, p, Usage(**usage)) for index, task, p, usage in state["tasks"]}

    def export(
        self, folder: Path, store: ExampleStore, metric: ModelFittingDifficulty, plan: Plan | None, judge_version: str
    ) -> None:
        """Write the provenance of every example.

        Args:
            folder: Gets ``provenance.jsonl`` and ``provenance.parquet``.
            store: All examples.
            metric: Makes the difficulty of two scores.
            plan: Of the stage at hand, for the weights; none before the first.
            judge_version: Of the judge that the scores come from.
        """
        weights = _weights(len(store), plan)
        rows = provenance_rows(store, self.rows, self.judged, self.tasks, metric, weights, judge_version)
        write_provenance(folder, rows)


def _weights(num_examples: int, plan: Plan | None) -> FloatArray:
    """[N] sum of the loss weights of each example's draws in ``plan``."""
    if plan is None:
        return np.zeros(num_examples)
    weights = np.ones(len(plan)) if plan.weights is None else plan.weights
    total: FloatArray = np.zeros(num_examples)
    np.add.at(total, plan.indices, weights)
    return total


def answer_raw(roles: Roles, store: ExampleStore, indices: IntArray) -> dict[int, ProvenanceRow]:
    """Rows of round 0 that replace raw examples, answered by the teacher.

    Gap and training target then have one source. An example whose answer is cut off, refused or what the data say
    already stays as it is.

    Args:
        roles: The teacher is asked; its costs are counted.
        store: The data.
        indices: Raw examples.

    Returns:
        By the index of the example that each replaces.
    """
    examples = [store[int(i)] for i in indices]
    questions = {e.instruction: TaskItem(id=e.id, instruction=e.instruction) for e in examples}
    answers = dict(zip(questions, roles.teacher.answer(list(questions.values())), strict=True))
    for answer in answers.values():
        roles.costs.add("teacher", answer.usage, int(not answer.complete))
    rows: dict[int, ProvenanceRow] = {}
    for index, example in zip(indices.tolist(), examples, strict=True):
        answer = answers[example.instruction]
        if not answer.complete or answer.text == example.response:
            continue
        rows[index] = ProvenanceRow(
            id=f"{example.id}/teacher",
            parent_id=example.id,
            instruction=example.instruction,
            output=answer.text,
            task=task_of(example) or "",
            prompt_version=version_of(roles.teacher),
            model=model_of(roles.teacher),
        ).paid(answer.usage)
    return rows


def to_example(row: ProvenanceRow, replaces: int | None) -> Example:
    """The training example of a row; its question is the instruction with the input field behind it.

    Args:
        row: From a round.
        replaces: Index of the example whose place it takes; none for a new instruction.
    """
    meta: dict[str, Any] = {"origin": row.origin, "round": row.round, "parent": row.parent_id, "task": row.task}
    if replaces is not None:
        meta["replaces"] = replaces
    question = f"{row.instruction}\n\n{row.input}" if row.input else row.instruction
    return new_example(row.id, question, row.output, row.task or None, f"tapir:{row.round}", meta)


def row_state(row: ProvenanceRow) -> dict[str, Any]:
    """The row as plain values, for a checkpoint."""
    return {**asdict(row), "judge_raw": list(row.judge_raw)}


def row_from_state(state: Mapping[str, Any]) -> ProvenanceRow:
    """The row that :func:`row_state` was made of."""
    return ProvenanceRow(**{**state, "judge_raw": tuple(state["judge_raw"])})


def provenance_rows(
    store: ExampleStore,
    appended: Sequence[ProvenanceRow],
    judged: Mapping[int, tuple[str, Judgement]],
    found: Mapping[int, FoundTask],
    metric: ModelFittingDifficulty,
    weights: FloatArray,
    judge_version: str,
) -> list[ProvenanceRow]:
    """One row for every example, in the order of the indices.

    Args:
        store: All examples.
        appended: The rows of the last of them.
        judged: The student's answer and its scores, by index.
        found: Tasks of rows for which the data name none, by index.
        metric: Makes the difficulty of two scores.
        weights: [N] sum of the loss weights with which the stage at hand takes each example.
        judge_version: Of the judge that the scores come from.
    """
    rows = []
    num_raw = len(store) - len(appended)
    for index in range(len(store)):
        example = store[index]
        task = task_of(example) or ""
        row = ProvenanceRow(id=example.id, instruction=example.instruction, output=example.response, task=task)
        if index >= num_raw:
            row = appended[index - num_raw]
        if index in found:
            row = replace(row.paid(found[index].usage), task=found[index].task, task_prob=found[index].probability)
        if index in judged:
            text, judgement = judged[index]
            teacher, student = judgement.score_teacher, judgement.score_student
            row = replace(
                row.paid(judgement.usage),
                student_output=text,
                score_teacher=teacher,
                score_student=student,
                gap=float(metric.gap(np.array([teacher]), np.array([student]))[0]),
                judge_raw=judgement.raw,
                judge_version=judge_version,
            )
        rows.append(replace(row, weight=float(weights[index])))
    return rows


def write_provenance(folder: Path, rows: Sequence[ProvenanceRow]) -> None:
    """Write ``provenance.jsonl`` and ``provenance.parquet``; a number that is not known is null."""
    plain = [{k: None if v != v else v for k, v in row_state(r).items()} for r in rows]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in plain)
    with atomic_path(folder / "provenance.parquet") as draft:
        pq.write_table(pa.Table.from_pylist(plain), draft)
        write_atomic(folder / "provenance.jsonl", lines)


def write_costs(folder: Path, by_role: Mapping[str, Mapping[str, int]]) -> None:
    """Write ``costs.json`` and the same as a table, ``costs.md``."""
    write_atomic(folder / "costs.json", json.dumps(by_role, indent=1) + "\n")
    columns = ("calls", "prompt_tokens", "completion_tokens", "retries", "failures")
    lines = [
        "| role | calls | prompt tokens | completion tokens | retries | failures |",
        "|---|---:|---:|---:|---:|---:|",
        *(f"| {role} | " + " | ".join(f"{entry[c]:,}" for c in columns) + " |" for role, entry in by_role.items()),
    ]
    write_atomic(folder / "costs.md", "\n".join(lines) + "\n")
