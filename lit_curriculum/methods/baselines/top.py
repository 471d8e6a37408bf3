"""Selection by one score: the highest, the lowest or the middle ones, in random order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from lit_curriculum.curriculum.ordering import highest_first
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.difficulty.words import check_choice
from lit_curriculum.methods.baselines.ordered import Rescore
from lit_curriculum.methods.baselines.single_metric import SingleMetricPolicy
from lit_curriculum.types import FloatArray, IntArray, Plan

Which = Literal["highest", "lowest", "middle"]

_OWNER = "curriculum.policy"


class TopMetricPolicy(SingleMetricPolicy):
    """The examples of highest, lowest or most central score, in a new random order each stage.

    The score is taken as it is, whichever way is hard. An example without a score is never chosen, nor is one outside
    ``at_least`` and ``below``; where fewer are left than asked for, the stage is shorter and says so. Ties go by
    content hash.

    Args:
        metric: Name of the metric.
        which: ``highest``, ``lowest``, or ``middle``: nearest to the median by rank, either side alike.
        fraction: Share of the data that a stage trains on; null where one of the next two is given.
        count: Number of examples that a stage trains on.
        tokens: Number of tokens that a stage trains on.
        at_least: Only scores from here on are chosen, or null.
        below: Only scores strictly below are chosen, or null; 1 for IFD.
        rescore: Whether the metric is computed once (``never`` again) or with the current model ``each_stage``.

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
        at_least: float | None = None,
        below: float | None = None,
        rescore: Rescore = "never",
    ) -> None:
        super().__init__(metric, fraction, count, tokens)
        check_choice(f"{_OWNER}.which", which, get_args(Which))
        check_choice(f"{_OWNER}.rescore", rescore, get_args(Rescore))
        self.which, self.rescore = which, rescore
        self.at_least, self.below = at_least, below

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        if stage == 0 or self.rescore == "never":
            return np.flatnonzero(table.never_scored(self.metric))
        return np.flatnonzero(~table.unscorable(self.metric))

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        check_scored(table, [self.metric], stage)
        values = table.scores[self.metric]
        eligible = within(values, self.at_least, self.below)
        if not len(eligible):
            raise ValueError(
                f"no example is left to choose from at stage {stage}: all {len(values)} scores by {self.metric!r} are "
                f"missing or outside {_OWNER}.at_least={self.at_least} and {_OWNER}.below={self.below}; change these."
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
    """Refuse to choose by a score that nobody has computed yet.

    Raises:
        ValueError: names the metric.
    """
    for metric in metrics:
        never = int(table.never_scored(metric).sum())
        if never:
            raise ValueError(
                f"metric {metric!r} has not scored {never} of {table.num_examples} examples when stage {stage} is "
                f"planned; let curriculum.metrics.{metric} score from the stage on that {_OWNER} reads it "
                "(first_stage), or let the policy read it later."
            )


def within(values: FloatArray, at_least: float | None, below: float | None) -> IntArray:
    """Positions of the ``values`` [n] that are there and lie in [at_least, below)."""
    lowest = -np.inf if at_least is None else at_least
    limit = np.inf if below is None else below
    return np.flatnonzero((values >= lowest) & (values < limit))


def ranked(values: FloatArray, tie_rank: IntArray, which: Which) -> IntArray:
    """Positions of ``values`` [n] in order of choice; equal values by rising ``tie_rank`` [n]."""
    if which == "highest":
        return highest_first(values, tie_rank)
    lowest_first = highest_first(-values, tie_rank)
    if which == "lowest":
        return lowest_first
    from_median = np.abs(np.arange(len(values)) - (len(values) - 1) / 2)
    return lowest_first[np.lexsort((tie_rank[lowest_first], from_median))]
