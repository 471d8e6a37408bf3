"""A warm-up phase under one policy before another takes over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lit_curriculum.curriculum.base import OWNER, CurriculumPolicy
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import BoolArray, ExampleStore, IntArray, Plan
from lit_curriculum.utils.options import check_range


class WarmStartPolicy(CurriculumPolicy):
    """Use one policy for the first stages and another, which counts its stages from 0, for the rest.

    K-means draws first and static IFD second are Cherry's procedure with its pre-experience (arXiv 2308.12032, section
    2.1). A random share first and gradients second are LESS with its warm-up (arXiv 2402.04333, section 4.1). Both
    papers then restart from the pretrained weights; here the same model is trained on. Put ``BudgetedRefresh`` around
    this policy, not inside, because it depends on the age of scores.

    Args:
        first: Policy of the first stages.
        policy: Policy of the others.
        stages: Number of stages of the first policy.

    Raises:
        ValueError: ``stages`` is below 1, or (in ``setup``) the run has no stage left for the second policy.
    """

    def __init__(self, first: CurriculumPolicy, policy: CurriculumPolicy, stages: int = 1) -> None:
        check_range(self, "[1, inf)", stages=stages)
        self.first, self.policy, self.stages = first, policy, stages
        self._last = first

    @property
    def required_metrics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.first.required_metrics, *self.policy.required_metrics)))

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        if num_stages <= self.stages:
            raise ValueError(
                f"{OWNER}.stages={self.stages} of a run of {num_stages} stages leave none for the second policy; "
                "raise trainer.max_epochs."
            )
        self.first.setup(examples, self.stages)
        self.policy.setup(examples, num_stages - self.stages)

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        policy, own_stage = self._of(stage)
        return policy.candidates(table, own_stage)

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        self._last, own_stage = self._of(stage)
        return self._last.step(table, own_stage, generator)

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        rest = self.policy.stage_sizes(num_examples, num_stages - self.stages)
        return [*self.first.stage_sizes(num_examples, self.stages), *rest]

    def finished(self, stage: int) -> bool:
        return stage >= self.stages and self.policy.finished(stage - self.stages)

    def selection_note(self) -> str:
        return self._last.selection_note()

    def exclusion_reasons(self, table: DifficultyTable) -> Mapping[str, BoolArray]:
        return self._last.exclusion_reasons(table)

    def state_dict(self) -> dict[str, Any]:
        return {"first": self.first.state_dict(), "policy": self.policy.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.first.load_state_dict(state["first"])
        self.policy.load_state_dict(state["policy"])

    def _of(self, stage: int) -> tuple[CurriculumPolicy, int]:
        """Policy of ``stage``, and the stage in its own count."""
        return (self.first, stage) if stage < self.stages else (self.policy, stage - self.stages)
