"""What a stage trains on, and where its chance comes from."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.types.examples import IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What one stage trains on, in order."""

    indices: IntArray
    """[M] example indices; an index may repeat where the method wants it."""
    weights: NDArray[np.float32] | None = None
    """[M] loss weights, or none for one each."""
    scalars: Mapping[str, float] = field(default_factory=dict)
    """What the policy wants to see logged about this step, under its own names."""

    def __len__(self) -> int:
        return len(self.indices)


def make_generator(seed: int, stage: int, purpose: str) -> np.random.Generator:
    """A random generator that depends on these three and on nothing else.

    Args:
        seed: The run's seed.
        stage: The stage that the numbers are drawn for.
        purpose: What they are drawn for, so that two uses at the same stage are independent.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, stage, zlib.crc32(purpose.encode())]))
