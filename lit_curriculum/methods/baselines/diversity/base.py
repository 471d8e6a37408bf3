"""What a rule of diversity is: it chooses from a pool, one example after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lit_curriculum.curriculum.ordering import highest_first
from lit_curriculum.types import ExampleStore, FloatArray, IntArray
from lit_curriculum.utils.options import Configured


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The examples to choose from, in the order of their content hashes.

    In that order a choice depends on no file order, and of equal examples the first one wins.
    """

    store: ExampleStore
    indices: IntArray
    """[n] indices of the examples."""
    priority: FloatArray | None
    """[n] scores, higher is better; none where nothing is preferred."""

    def __len__(self) -> int:
        return len(self.indices)

    def order(self, generator: np.random.Generator) -> IntArray:
        """[n] places in the pool from highest priority to lowest, or in random order where there is none."""
        if self.priority is None:
            return generator.permutation(len(self))
        return highest_first(self.priority, np.arange(len(self)))


class Diversity(Configured, ABC):
    """Chooses examples from a pool that differ from one another."""

    option_path: ClassVar[str] = "diversity"

    @abstractmethod
    def choose(self, pool: Pool, size: int, generator: np.random.Generator) -> IntArray:
        """Places in the pool [k], k at most ``size`` and at most its length, in order of choice, without repeats."""
