"""Selection of the highest, lowest or most central scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lit_curriculum.curriculum.base import OWNER
from lit_curriculum.curriculum.ordering import highest_first
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.single_metric import SingleMetricPolicy
from lit_curriculum.types import FloatArray, IntArray, Plan

Which = Literal["highest", "lowest", "middle"]


class TopMetricPolicy(SingleMetricPolicy):
    """Train on the examples of highest, lowest or most central score, reshuffled at every stage.

    The score is taken as it is, whichever way is hard. An example without a score is never chosen, nor is one that is
    not below ``below``. Where fewer are left than asked for, the stage is shorter. Ties go by content hash.

    Args:
        metric: Name of the metric.
        which: ``highest``, ``lowest``, or ``middle``: nearest to the median by rank, either side alike.
        fraction: Share of the data that a stage trains on; null where one of the next two is given.
        count: Number of examples that a stage trains on.
        tokens: Number of tokens that a stage trains on.
        below: Only scores strictly below are chosen, or null; 1 for IFD.

    Raises:
        ValueError: an option is out of range, or (in ``step``) there are no scores yet or no example is left.
    """

    def __init__(
        self,
        metric: str,
        which: Which = "highest",
        fraction: float | None = 0.1,
        count: int | None = None,
        tokens: int | None = None,
        below: float | None = None,
    ) -> None:
        super().__init__(metric, fraction, count, tokens)
        self.which, self.below = which, below

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        return np.flatnonzero(table.never_scored(self.metric))

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        check_scored(table, [self.metric], stage)
        values = table.scores[self.metric]
        eligible = below_limit(values, self.below)
        if not len(eligible):
            raise ValueError(
                f"no example is left to choose from at stage {stage}: all {len(values)} scores by {self.metric!r} are "
                f"missing or not below {OWNER}.below={self.below}; raise it."
            )
        chosen = self.size.cut(eligible[ranked(values[eligible], self._tie_rank[eligible], self.which)], len(values))
        scalars = {
            "selected": float(len(chosen)),
            "eligible": float(len(eligible)),
            "unscorable": float(table.unscorable(self.metric).sum()),
            "lowest_selected": float(values[chosen].min()),
            "highest_selected": float(values[chosen].max()),
        }
        return Plan(indices=generator.permutation(chosen), scalars=scalars)


def check_scored(table: DifficultyTable, metrics: Sequence[str], stage: int) -> None:
    """Refuse to choose by a score that has not been computed yet.

    Raises:
        ValueError: names the metric.
    """
    for metric in metrics:
        never = int(table.never_scored(metric).sum())
        if never:
            raise ValueError(
                f"metric {metric!r} has not scored {never} of {table.num_examples} examples when stage {stage} is "
                f"planned; let curriculum.metrics.{metric} score from the stage on that {OWNER} reads it "
                "(first_stage), or let the policy read it later."
            )


def below_limit(values: FloatArray, below: float | None) -> IntArray:
    """Positions of the finite ``values`` [n] that are below the limit, where there is one."""
    return np.flatnonzero(~np.isnan(values) & (values < (np.inf if below is None else below)))


def ranked(values: FloatArray, tie_rank: IntArray, which: Which) -> IntArray:
    """Positions of ``values`` [n] in order of choice; equal values by rising ``tie_rank`` [n]."""
    if which == "highest":
        return highest_first(values, tie_rank)
    lowest_first = highest_first(-values, tie_rank)
    if which == "lowest":
        return lowest_first
    from_median = np.abs(np.arange(len(values)) - (len(values) - 1) / 2)
    return lowest_first[np.lexsort((tie_rank[lowest_first], from_median))]
