"""Uniform sampling: plain fine-tuning, and the random control of selection methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

from lit_curriculum.curriculum.base import CurriculumPolicy, check_same_data
from lit_curriculum.curriculum.ordering import StageSize
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import ExampleStore, IntArray, Plan

Fresh = Literal["each_stage", "once"]


class UniformPolicy(CurriculumPolicy):
    """Sample examples uniformly without replacement, in a new random order at every stage.

    Args:
        fraction: Share of the data that a stage trains on; null where ``count`` is given.
        count: Number of examples that a stage trains on.
        tokens: Number of tokens that a stage trains on.
        fresh: Whether the subset is drawn ``each_stage`` or ``once`` for all stages. Where data have grown,
            the subset drawn once keeps its members and is filled up at random.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        fraction: float | None = 1.0,
        count: int | None = None,
        fresh: Fresh = "each_stage",
        tokens: int | None = None,
    ) -> None:
        self.size = StageSize(fraction, count, tokens)
        self.fraction, self.count, self.fresh, self.tokens = fraction, count, fresh, tokens
        self._subset: IntArray = np.empty(0, dtype=np.int64)

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        self._num_examples = len(examples)
        self.size.setup(examples)

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        return [self.size.planned(num_examples)] * num_stages

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        del table
        kept = self._subset if stage > 0 else self._subset[:0]
        # Behind a subset that uses up its tokens but for a rest, a short example might still fit.
        full = self.tokens is not None and len(kept) > 0
        others = kept[:0] if full else np.setdiff1d(np.arange(self._num_examples), kept)
        subset = self.size.cut(np.concatenate([kept, generator.permutation(others)]), self._num_examples)
        if self.fresh == "once":
            self._subset = subset
        return Plan(indices=generator.permutation(subset), scalars={"selected": float(len(subset))})

    def state_dict(self) -> dict[str, Any]:
        return {"num_examples": self._num_examples, "subset": torch.from_numpy(self._subset.copy())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_same_data("random subset", f"{state['num_examples']} examples", f"{self._num_examples} examples")
        self._subset = state["subset"].numpy().copy()
