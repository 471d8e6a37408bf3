"""The control of a method whose examples are longer or shorter than others: random examples of as many tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lit_curriculum import CurriculumPolicy, DifficultyTable
from lit_curriculum.types import CONDITIONED, ExampleStore, IntArray, Plan


class SameTokens(CurriculumPolicy):
    """Random examples of as many tokens as another run trained on, stage by stage.

    Args:
        tokens: Tokens of each stage of the other run.
        sizes: Its number of examples of each stage, for the learning-rate horizon.
        fresh: Whether each stage draws again (``each_stage``) or from one order that is drawn ``once``.
    """

    def __init__(
        self, tokens: list[int], sizes: list[int], fresh: Literal["each_stage", "once"] = "each_stage"
    ) -> None:
        self.tokens, self.sizes, self.fresh = tokens, sizes, fresh

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        self._lengths = examples.lengths(CONDITIONED)
        self._order: IntArray = np.empty(0, dtype=np.int64)

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        del table
        if stage == 0 or self.fresh == "each_stage":
            # Other runs may repeat examples within a stage, and then so does this one.
            passes = 1 + max(self.tokens) // int(self._lengths.sum())
            self._order = np.concatenate([generator.permutation(len(self._lengths)) for _ in range(passes)])
        total = self._lengths[self._order].cumsum()
        size = 1 + int(np.abs(total - self.tokens[stage]).argmin())
        return Plan(indices=generator.permutation(self._order[:size]))

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        return self.sizes[:num_stages]
