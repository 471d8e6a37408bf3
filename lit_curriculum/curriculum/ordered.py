"""The plain curricula: easy to hard, hard to easy, or the easiest or hardest part of the data."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from lit_curriculum.curriculum.ordering import highest_first
from lit_curriculum.curriculum.single_metric import SingleMetricPolicy
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.difficulty.words import check_choice
from lit_curriculum.types import IntArray, Plan

Direction = Literal["easy_to_hard", "hard_to_easy"]
Rescore = Literal["never", "each_stage"]

_OWNER = "curriculum.policy"


class OrderedPolicy(SingleMetricPolicy):
    """All examples in order of one metric, or as many as fit from the front of that order.

    Ties go by content hash. Examples that the metric cannot score stand last, and their number is logged.

    Args:
        metric: Name of the difficulty metric; its own direction says what is hard.
        direction: ``easy_to_hard`` or ``hard_to_easy``.
        fraction: Share of the data that a stage trains on, from the front of the order; null where ``count`` is
            given. Hard to easy by length, a small share is the baseline of the longest responses.
        count: Number of examples that a stage trains on.
        rescore: Whether the metric is computed once (``never`` again) or with the current model ``each_stage``.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        metric: str,
        direction: Direction = "easy_to_hard",
        fraction: float | None = 1.0,
        count: int | None = None,
        rescore: Rescore = "never",
    ) -> None:
        super().__init__(metric, fraction, count)
        check_choice(f"{_OWNER}.direction", direction, get_args(Direction))
        check_choice(f"{_OWNER}.rescore", rescore, get_args(Rescore))
        self.direction, self.rescore = direction, rescore

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        if stage == 0 or self.rescore == "never":
            return np.flatnonzero(table.never_scored(self.metric))
        return np.flatnonzero(~table.unscorable(self.metric))

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        del stage, generator
        assert not table.never_scored(self.metric).any(), "step was called before candidates were scored"
        hardness = table.hardness(self.metric)
        order = highest_first(hardness if self.direction == "hard_to_easy" else -hardness, self._tie_rank)
        chosen = order[: self._size]
        scalars = {
            "selected": float(len(chosen)),
            "unscorable": float(table.unscorable(self.metric).sum()),
            "unscorable_selected": float(np.isnan(hardness[chosen]).sum()),
        }
        return Plan(indices=chosen, scalars=scalars)
