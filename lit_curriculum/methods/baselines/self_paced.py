"""Self-paced learning: a loss threshold that grows from stage to stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lit_curriculum.curriculum.ordering import highest_first
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.single_metric import SingleMetricPolicy
from lit_curriculum.types import BoolArray, IntArray, Plan
from lit_curriculum.utils.options import check_range

_VERSION = 1


class SelfPacedPolicy(SingleMetricPolicy):
    """Re-score all examples at every stage and train on those with a score of at most lambda.

    Every stage has the same number of entries, so that methods are compared at equal budget: where more examples are
    below the threshold a random part of them is taken, where fewer are all of them are repeated. The easiest one
    always counts as below it. An example without a score is never trained on, and their number is logged.

    Args:
        metric: Name of the loss, or of another metric that is harder where it is higher.
        initial_fraction: Share of the scorable examples that the first threshold lets in, in (0, 1].
        growth: Factor on the threshold from stage to stage (mu in the paper, 1.3 there), above 1.
        fraction: Entries of a stage as a share of the data; null where ``count`` is given.
        count: Number of entries of a stage.

    Raises:
        ValueError: an option is out of range, or no example has a score.

    References:
        Kumar et al. 2010, "Self-Paced Learning for Latent Variable Models", algorithm 2.
    """

    def __init__(
        self,
        metric: str = "loss",
        initial_fraction: float = 0.5,
        growth: float = 1.3,
        fraction: float | None = 1.0,
        count: int | None = None,
    ) -> None:
        super().__init__(metric, fraction, count)
        check_range(self, "(0, 1]", initial_fraction=initial_fraction)
        check_range(self, "(1, inf)", growth=growth)
        self.initial_fraction, self.growth = initial_fraction, growth
        self._threshold = float("nan")

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        return np.flatnonzero(~table.unscorable(self.metric))

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        hardness = table.hardness(self.metric)
        order = highest_first(-hardness, self._tie_rank)
        order = order[np.isfinite(hardness[order])]
        if not len(order):
            raise ValueError(f"no example has a score by {self.metric!r}; raise data.max_length.")
        if stage == 0:
            last_in = max(0, int(self.initial_fraction * len(order) + 1e-9) - 1)
            self._threshold = float(hardness[order[last_in]])
        else:
            self._threshold *= self.growth
        num_below = max(1, int((hardness[order] <= self._threshold).sum()))
        passes = [generator.permutation(order[:num_below]) for _ in range(-(-self._size // num_below))]
        scalars = {
            "threshold": self._threshold,
            "below_threshold": float(num_below),
            "unscorable": float(table.unscorable(self.metric).sum()),
        }
        return Plan(indices=np.concatenate(passes)[: self._size], scalars=scalars)

    def exclusion_reasons(self, table: DifficultyTable) -> Mapping[str, BoolArray]:
        above: BoolArray = table.hardness(self.metric) > self._threshold
        return {f"{self.metric} above the threshold": above}

    def state_dict(self) -> dict[str, Any]:
        return {"version": _VERSION, "threshold": self._threshold}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["version"] != _VERSION:
            raise ValueError(f"policy state of version {state['version']} cannot be read; expected {_VERSION}.")
        self._threshold = state["threshold"]
