"""What TAPIR's rounds of a run have come to so far: kept in checkpoints, and exported as provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lit_curriculum.methods.tapir.difficulty import ModelFittingDifficulty
from lit_curriculum.methods.tapir.judging import judgement_from_state, judgement_state
from lit_curriculum.methods.tapir.provenance import provenance_rows, row_from_state, row_state, write_provenance
from lit_curriculum.methods.tapir.roles import Judgement, ProvenanceRow, Usage
from lit_curriculum.methods.tapir.rounds import FoundTask
from lit_curriculum.types import ExampleStore, FloatArray, Plan

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
    """Index of the example that each of ``rows`` stands in for."""
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
