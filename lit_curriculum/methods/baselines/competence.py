"""Competence-based curriculum: sample from the easiest part of the data, which grows during the run."""

from __future__ import annotations

import numpy as np

from lit_curriculum.curriculum.ordering import highest_first
from lit_curriculum.curriculum.pacing import root_competence
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.single_metric import SingleMetricPolicy
from lit_curriculum.types import ExampleStore, IntArray, Plan
from lit_curriculum.utils.options import check_range


class CompetencePolicy(SingleMetricPolicy):
    """Draw each entry with replacement from the easiest share c(u) of the data, u being the progress of the run.

    As in the paper the competence rises from batch to batch (here from example to example), and the metric is computed
    once. Ties go by content hash; examples without a score are the last to come into scope.

    Args:
        metric: Name of the difficulty metric.
        initial_scope: Competence at the start (c0).
        power: 1 is the paper's linear, 2 its square-root competence (p).
        duration: Share of the run after which all data are in scope (T), in (0, 1].
        fraction: Entries of a stage as a share of the data; null where ``count`` is given.
        count: Number of entries of a stage.

    Raises:
        ValueError: an option is out of range.

    References:
        Platanios et al. 2019, "Competence-based Curriculum Learning for Neural Machine Translation", arXiv 1903.09848.
    """

    def __init__(
        self,
        metric: str,
        initial_scope: float = 0.01,
        power: float = 2.0,
        duration: float = 1.0,
        fraction: float | None = 1.0,
        count: int | None = None,
    ) -> None:
        super().__init__(metric, fraction, count)
        check_range(self, "(0, 1]", initial_scope=initial_scope, duration=duration)
        check_range(self, "(0, inf)", power=power)
        self.initial_scope, self.power, self.duration = initial_scope, power, duration

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        super().setup(examples, num_stages)
        self._num_stages = num_stages

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        return np.flatnonzero(table.never_scored(self.metric))

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        assert not table.never_scored(self.metric).any(), "step was called before candidates were scored"
        order = highest_first(-table.hardness(self.metric), self._tie_rank)
        progress = (stage + np.arange(self._size) / self._size) / (self._num_stages * self.duration)
        competence = root_competence(progress, self.initial_scope, self.power)
        scope = np.maximum(1, (competence * len(order) + 1e-9).astype(np.int64))
        chosen = order[generator.integers(scope)]
        scalars = {"competence": float(competence[-1]), "unscorable": float(table.unscorable(self.metric).sum())}
        return Plan(indices=chosen, scalars=scalars)
