"""Take a score that is not too old for a new one."""

from __future__ import annotations

import dataclasses

import numpy as np

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.curriculum.wrapper import PolicyWrapper, check_read
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import IntArray, Plan

_OWNER = "curriculum.policy"


class ReuseRecent(PolicyWrapper):
    """Any policy, but what has a score of at most ``max_age`` stages is not scored again.

    A score that training itself left in the table (``curriculum.free_metric``) has age 1 when the next stage is
    planned, so with ``max_age`` 1 the examples that were just trained on are not run once more.

    Args:
        policy: The policy inside.
        metric: Whose age counts.
        max_age: Largest age in stages that is taken for new.

    Raises:
        ValueError: the policy does not read the metric, or the age is below 1.
    """

    def __init__(self, policy: CurriculumPolicy, metric: str, max_age: int = 1) -> None:
        super().__init__(policy)
        check_read(_OWNER, metric, policy)
        if max_age < 1:
            raise ValueError(f"{_OWNER}.max_age must be at least 1 stage, got {max_age}.")
        self.metric, self.max_age = metric, max_age

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        asked = self.policy.candidates(table, stage)
        old = table.scored_at[self.metric][asked] < stage - self.max_age
        return asked[old | table.never_scored(self.metric)[asked]]

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        asked = self.policy.candidates(table, stage)
        reused = float((table.scored_at[self.metric][asked] < stage).sum())
        plan = self.policy.step(table, stage, generator)
        return dataclasses.replace(plan, scalars={**plan.scalars, "scores_reused": reused})
