"""Sorted curricula: easy to hard, hard to easy, or the easiest or hardest part of the data."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lit_curriculum.curriculum.ordering import highest_first
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.single_metric import SingleMetricPolicy
from lit_curriculum.types import FloatArray, IntArray, Plan

Direction = Literal["easy_to_hard", "hard_to_easy"]
Rescore = Literal["never", "each_stage"]


class OrderedPolicy(SingleMetricPolicy):
    """Train on the examples sorted by one metric, or on the front of that order.

    Ties go by content hash. Examples that the metric cannot score come last, and their number is logged.

    Args:
        metric: Name of the difficulty metric; its own direction says what is hard.
        direction: ``easy_to_hard`` or ``hard_to_easy``.
        fraction: Share of the data that a stage trains on, from the front of the order; null where ``count`` is
            given. Hard to easy by length, a small share is the baseline of the longest responses.
        count: Number of examples that a stage trains on.
        rescore: Whether the metric is computed once (``never`` again) or with the current model ``each_stage``.
        baseline: Name of a metric that is taken off: with the loss of a reference model under this name and the loss
            of the model in training as ``metric``, it is the reducible loss of RHO-LOSS. An example that lacks either
            score has none. Computed once.
        tokens: Number of tokens that a stage trains on, in place of ``fraction`` and ``count``.

    Raises:
        ValueError: an option is out of range.

    References:
        Mindermann et al. 2022, arXiv 2206.07137, equation 3 (with ``baseline``).
    """

    def __init__(
        self,
        metric: str,
        direction: Direction = "easy_to_hard",
        fraction: float | None = 1.0,
        count: int | None = None,
        rescore: Rescore = "never",
        baseline: str | None = None,
        tokens: int | None = None,
    ) -> None:
        super().__init__(metric, fraction, count, tokens)
        self.direction, self.rescore, self.baseline = direction, rescore, baseline

    @property
    def required_metrics(self) -> tuple[str, ...]:
        return (self.metric,) if self.baseline is None else (self.metric, self.baseline)

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        if stage == 0 or self.rescore == "never":
            never = [table.never_scored(metric) for metric in self.required_metrics]
            return np.flatnonzero(np.any(never, axis=0))
        return np.flatnonzero(~table.unscorable(self.metric))

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        hardness = self.hardness(table)
        order = highest_first(hardness if self.direction == "hard_to_easy" else -hardness, self._tie_rank)
        chosen = self.choose(order, hardness, stage, generator)
        scalars = {
            "selected": float(len(chosen)),
            "unscorable": float(np.isnan(hardness).sum()),
            "unscorable_selected": float(np.isnan(hardness[chosen]).sum()),
        }
        return Plan(indices=chosen, scalars=scalars)

    def hardness(self, table: DifficultyTable) -> FloatArray:
        """Sort key [N], higher is harder; NaN without a score."""
        for metric in self.required_metrics:
            assert not table.never_scored(metric).any(), "step was called before candidates were scored"
        values = table.hardness(self.metric)
        return values if self.baseline is None else values - table.hardness(self.baseline)

    def choose(self, order: IntArray, hardness: FloatArray, stage: int, generator: np.random.Generator) -> IntArray:
        """Choose the entries [M] of ``stage`` from the whole ``order`` [N] in the chosen direction."""
        del hardness, stage, generator
        return self.size.cut(order, len(order))
