"""Take a score that is not too old for a new one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import torch

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.difficulty.table import NEVER, DifficultyTable
from lit_curriculum.difficulty.words import check_choice
from lit_curriculum.methods.wrappers.wrapper import PolicyWrapper, check_read
from lit_curriculum.types import BoolArray, ExampleStore, IntArray, Plan

Reused = Literal["all", "trained"]

_OWNER = "curriculum.policy"


class ReuseRecent(PolicyWrapper):
    """Any policy, but what has a score of at most ``max_age`` stages is not scored again.

    A score that was made to plan stage s has age 1 when stage s + 1 is planned, and so has a loss that training left
    in the table during stage s (``curriculum.training_loss_metric``).

    Args:
        policy: The policy inside.
        metric: Whose age counts.
        max_age: Largest age in stages that is taken for new.
        reuse: ``all`` such scores, or only those of examples that were ``trained`` on in the stage of their score;
            with ``curriculum.training_loss_metric`` these cost nothing, and everything else is scored as ever.

    Raises:
        ValueError: the policy does not read the metric, or an option is out of range.
    """

    def __init__(self, policy: CurriculumPolicy, metric: str, max_age: int = 1, reuse: Reused = "all") -> None:
        super().__init__(policy)
        check_read(_OWNER, metric, policy)
        check_choice(f"{_OWNER}.reuse", reuse, get_args(Reused))
        if max_age < 1:
            raise ValueError(f"{_OWNER}.max_age must be at least 1 stage, got {max_age}.")
        self.metric, self.max_age, self.reuse = metric, max_age, reuse
        self._trained_at = np.empty(0, dtype=np.int32)

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        super().setup(examples, num_stages)
        known = self._trained_at if len(self._trained_at) <= len(examples) else self._trained_at[:0]
        self._trained_at = np.append(known, np.full(len(examples) - len(known), NEVER, dtype=np.int32))

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        asked = self.policy.candidates(table, stage)
        return asked[~self._new_enough(table, asked, stage)]

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        asked = self.policy.candidates(table, stage)
        reused = float((self._new_enough(table, asked, stage) & (table.scored_at[self.metric][asked] < stage)).sum())
        plan = self.policy.step(table, stage, generator)
        self._trained_at[plan.indices] = stage
        return dataclasses.replace(plan, scalars={**plan.scalars, "scores_reused": reused})

    def _new_enough(self, table: DifficultyTable, asked: IntArray, stage: int) -> BoolArray:
        scored_at = table.scored_at[self.metric][asked]
        new: BoolArray = (scored_at >= stage - self.max_age) & (scored_at != NEVER)
        return new if self.reuse == "all" else new & (self._trained_at[asked] == scored_at)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "trained_at": torch.from_numpy(self._trained_at.copy())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if len(state["trained_at"]) != len(self._trained_at):
            raise ValueError(
                f"the checkpoint's policy is of {len(state['trained_at'])} examples, the data have "
                f"{len(self._trained_at)}; resume with the data that the run was started with."
            )
        super().load_state_dict(state)
        self._trained_at = state["trained_at"].numpy().copy()
