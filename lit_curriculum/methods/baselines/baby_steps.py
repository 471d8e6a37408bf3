"""One-pass and baby-steps curricula: bands of rising difficulty, one after the other or accumulated."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

import numpy as np

from lit_curriculum.curriculum.base import OWNER, CurriculumPolicy
from lit_curriculum.curriculum.ordering import content_ranks, highest_first
from lit_curriculum.curriculum.pacing import cut_bands
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import ExampleStore, IntArray, Plan
from lit_curriculum.utils.options import check_range

Mode = Literal["one_pass", "baby_steps"]


class BabyStepsPolicy(CurriculumPolicy):
    """Train on band t at stage t (one pass), or on bands 1 to t (baby steps), in random order.

    With ``stages_per_band`` of S, S stages train on the same bands before the next one is due: phases of several
    passes, alone (one pass) or cumulative (baby steps). After the last band, one pass starts again with the first, and
    baby steps stay with all the data. Ties go by content hash; examples without a score are in the last band.

    Args:
        metric: Name of the difficulty metric, computed once.
        mode: ``one_pass`` or ``baby_steps``.
        num_bands: Number of bands; null for one a stage of ``trainer.max_epochs``.
        budget_passes: Where the run ends, in passes over the data, the last stage being cut to it at random; null
            ends with ``trainer.max_epochs``.
        stages_per_band: Stages before the next band is due (S).

    Raises:
        ValueError: an option is out of range.

    References:
        Bengio et al. 2009, "Curriculum Learning" (one pass); Spitkovsky et al. 2010, "From Baby Steps to Leapfrog".
        Pang et al. 2024, "Phased Instruction Fine-Tuning", arXiv 2406.04371 (several stages a band).
    """

    def __init__(
        self,
        metric: str,
        mode: Mode = "one_pass",
        num_bands: int | None = None,
        budget_passes: float | None = None,
        stages_per_band: int = 1,
    ) -> None:
        check_range(self, "[1, inf)", num_bands=num_bands, stages_per_band=stages_per_band)
        check_range(self, "(0, inf)", budget_passes=budget_passes)
        self.metric, self.mode, self.num_bands, self.budget_passes = metric, mode, num_bands, budget_passes
        self.stages_per_band = stages_per_band

    @property
    def required_metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        needed = (self.num_bands or 1) * self.stages_per_band
        if needed > num_stages:
            raise ValueError(
                f"trainer.max_epochs={num_stages} is less than {OWNER}.num_bands={self.num_bands} of "
                f"{self.stages_per_band} stage(s) each, so the hardest bands would never be trained on; raise the one "
                "or lower the other."
            )
        self._bands = self._cut(len(examples), num_stages)
        self._sizes = self.stage_sizes(len(examples), num_stages)
        self._tie_rank = content_ranks(examples.content_hashes)

    def _cut(self, num_examples: int, num_stages: int) -> list[tuple[int, int]]:
        num_bands = self.num_bands or num_stages // self.stages_per_band
        return cut_bands(num_examples, np.arange(1, num_bands + 1) / num_bands)

    def _places(self, bands: Sequence[tuple[int, int]], stage: int) -> tuple[int, int]:
        phase = stage // self.stages_per_band
        if self.mode == "one_pass":
            return bands[phase % len(bands)]
        return 0, bands[min(phase, len(bands) - 1)][1]

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        bands = self._cut(num_examples, num_stages)
        sizes = [hi - lo for lo, hi in (self._places(bands, stage) for stage in range(num_stages))]
        if self.budget_passes is None:
            return sizes
        budget = max(1, int(self.budget_passes * num_examples + 1e-9))
        before = [0, *accumulate(sizes)]
        if before[-1] < budget:
            raise ValueError(
                f"trainer.max_epochs={num_stages} stages hold {before[-1]} examples, fewer than the {budget} of "
                f"{OWNER}.budget_passes={self.budget_passes}; raise trainer.max_epochs."
            )
        return [min(size, budget - done) for size, done in zip(sizes, before, strict=False) if done < budget]

    def finished(self, stage: int) -> bool:
        return stage >= len(self._sizes)

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        return np.flatnonzero(table.never_scored(self.metric))

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        assert not table.never_scored(self.metric).any(), "step was called before candidates were scored"
        order = highest_first(-table.hardness(self.metric), self._tie_rank)
        lo, hi = self._places(self._bands, stage)
        chosen = generator.permutation(order[lo:hi])[: self._sizes[stage]]
        scalars = {"scope": hi / len(order), "unscorable": float(table.unscorable(self.metric).sum())}
        return Plan(indices=chosen, scalars=scalars)
