"""The difficulty table: the latest score of every example by every metric, and the stage it dates from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lit_curriculum.types import FloatArray, IntArray

NEVER = -1
"""``scored_at`` of an example that has not been scored yet."""
_VERSION = 1


class DifficultyTable:
    """Scores and the stages that they date from; a column for each metric, a row for each example.

    A score is a finite number, or NaN. Where ``scored_at`` is :data:`NEVER`, NaN means that it was never computed;
    elsewhere, that the metric cannot score the example (it has no scored token).

    Args:
        num_examples: Number of rows.
        metrics: Names of the columns.
        higher_is_harder: Direction of each metric; true by default.
    """

    def __init__(
        self, num_examples: int, metrics: Sequence[str], higher_is_harder: Mapping[str, bool] | None = None
    ) -> None:
        self.num_examples = num_examples
        self.higher_is_harder: dict[str, bool] = dict.fromkeys(metrics, True) | dict(higher_is_harder or {})
        self.scores: dict[str, FloatArray] = {m: np.full(num_examples, np.nan) for m in metrics}
        self.scored_at: dict[str, NDArray[np.int32]] = {m: np.full(num_examples, NEVER, np.int32) for m in metrics}

    def enter(self, metric: str, indices: IntArray, values: FloatArray, stage: int) -> None:
        """Enter scores that were computed before stage ``stage``.

        Args:
            metric: Name of the column.
            indices: [K] examples.
            values: [K] their scores; NaN marks an example that the metric cannot score.
            stage: The stage that comes next.

        Raises:
            ValueError: a value is infinite; nothing is entered then.
        """
        infinite = np.isinf(values)
        if infinite.any():
            raise ValueError(
                f"metric {metric!r}: {int(infinite.sum())} of {len(values)} scores are infinite, the first at "
                f"example index {int(indices[infinite][0])} (stage {stage}); check the metric and the model's weights."
            )
        self.scores[metric][indices] = values
        self.scored_at[metric][indices] = stage

    def hardness(self, metric: str) -> FloatArray:
        """[N] scores of ``metric`` with the sign under which higher is harder; NaN where there is no score."""
        return self.scores[metric].copy() if self.higher_is_harder[metric] else -self.scores[metric]

    def never_scored(self, metric: str) -> NDArray[np.bool_]:
        """[N] true where the metric has never been computed."""
        never: NDArray[np.bool_] = self.scored_at[metric] == NEVER
        return never

    def unscorable(self, metric: str) -> NDArray[np.bool_]:
        """[N] true where the metric was computed and gave no score."""
        return np.isnan(self.scores[metric]) & ~self.never_scored(metric)

    def part(self, indices: IntArray) -> DifficultyTable:
        """A copy of the rows ``indices`` [K] as a new table."""
        part = DifficultyTable(len(indices), list(self.scores), self.higher_is_harder)
        part.scores = {metric: values[indices] for metric, values in self.scores.items()}
        part.scored_at = {metric: stages[indices] for metric, stages in self.scored_at.items()}
        return part

    def grow(self, num_examples: int) -> None:
        """Append rows of never-scored examples until there are ``num_examples``."""
        extra = num_examples - self.num_examples
        if extra < 0:
            raise ValueError(f"a difficulty table cannot shrink from {self.num_examples} to {num_examples} examples.")
        for metric in self.scores:
            self.scores[metric] = np.concatenate([self.scores[metric], np.full(extra, np.nan)])
            self.scored_at[metric] = np.concatenate([self.scored_at[metric], np.full(extra, NEVER, np.int32)])
        self.num_examples = num_examples

    def state_dict(self) -> dict[str, Any]:
        """Copies of all columns, as tensors, so that a checkpoint loads with ``weights_only``."""
        return {
            "version": _VERSION,
            "num_examples": self.num_examples,
            "scores": {m: torch.from_numpy(v.copy()) for m, v in self.scores.items()},
            "scored_at": {m: torch.from_numpy(v.copy()) for m, v in self.scored_at.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`.

        Raises:
            ValueError: the state is of another version, size or set of metrics.
        """
        if state["version"] != _VERSION:
            raise ValueError(f"difficulty table of version {state['version']} cannot be read; expected {_VERSION}.")
        if set(state["scores"]) != set(self.scores):
            raise ValueError(
                f"the checkpoint's difficulty table holds metrics {sorted(state['scores'])}, this run asks for "
                f"{sorted(self.scores)}; resume with the configuration that the run was started with."
            )
        if state["num_examples"] != self.num_examples:
            raise ValueError(
                f"the checkpoint's difficulty table has {state['num_examples']} examples, the data have "
                f"{self.num_examples}; resume with the data that the run was started with."
            )
        self.scores = {m: v.numpy().astype(np.float64) for m, v in state["scores"].items()}
        self.scored_at = {m: v.numpy().astype(np.int32) for m, v in state["scored_at"].items()}
