"""Base class of policies that wrap another policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import BoolArray, ExampleStore, IntArray, Plan


class PolicyWrapper(CurriculumPolicy):
    """Delegate everything to the wrapped policy; subclasses override what they change.

    Args:
        policy: The wrapped policy.
    """

    def __init__(self, policy: CurriculumPolicy) -> None:
        self.policy = policy

    @property
    def required_metrics(self) -> tuple[str, ...]:
        return self.policy.required_metrics

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        self.policy.setup(examples, num_stages)

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        return self.policy.candidates(table, stage)

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        return self.policy.step(table, stage, generator)

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        return self.policy.stage_sizes(num_examples, num_stages)

    def finished(self, stage: int) -> bool:
        return self.policy.finished(stage)

    def selection_note(self) -> str:
        return self.policy.selection_note()

    def exclusion_reasons(self, table: DifficultyTable) -> Mapping[str, BoolArray]:
        return self.policy.exclusion_reasons(table)

    def state_dict(self) -> dict[str, Any]:
        return {"policy": self.policy.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.policy.load_state_dict(state["policy"])


def check_read(owner: str, metric: str, policy: CurriculumPolicy) -> None:
    """Refuse a metric that the wrapped policy does not read.

    Raises:
        ValueError: names both.
    """
    if metric not in policy.required_metrics:
        raise ValueError(
            f"{owner}.metric={metric!r} is not read by {type(policy).__name__}; name one of "
            f"{list(policy.required_metrics)}."
        )
