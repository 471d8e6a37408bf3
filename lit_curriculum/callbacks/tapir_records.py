"""What TAPIR's rounds of a run have come to so far: kept in checkpoints, and exported as provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lit_curriculum.difficulty.mfd import ModelFittingDifficulty
from lit_curriculum.distill.judging import judgement_from_state, judgement_state
from lit_curriculum.distill.provenance import provenance_rows, row_from_state, row_state, write_provenance
from lit_curriculum.distill.roles import Judgement, ProvenanceRow
from lit_curriculum.types import ExampleStore, FloatArray, Plan

_VERSION = 2


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
    """The student's last answer and its scores, by index."""

    def state_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "version": _VERSION, "round": self.round, "judged_round": self.judged_round,
            "answered": self.answered, "refined": sorted(self.refined),
            "rows": [row_state(row) for row in self.rows], "replaces": self.replaces,
            "judged": [[index, text, judgement_state(j)] for index, (text, j) in self.judged.items()],
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

    def export(self, folder: Path, store: ExampleStore, metric: ModelFittingDifficulty, plan: Plan | None) -> None:
        """Write the provenance of every example.

        Args:
            folder: Gets ``provenance.jsonl`` and ``provenance.parquet``.
            store: All examples.
            metric: Makes the difficulty of two scores.
            plan: Of the stage at hand, for the weights; none before the first.
        """
        write_provenance(folder, provenance_rows(store, self.rows, self.judged, metric, _weights(len(store), plan)))


def _weights(num_examples: int, plan: Plan | None) -> FloatArray:
    """[N] sum of the loss weights of each example's draws in ``plan``."""
    if plan is None:
        return np.zeros(num_examples)
    weights = np.ones(len(plan)) if plan.weights is None else plan.weights
    total: FloatArray = np.zeros(num_examples)
    np.add.at(total, plan.indices, weights)
    return total
