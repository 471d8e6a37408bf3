"""A filter by nearest neighbours: an example is taken unless one too much like it has been taken before."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from lit_curriculum.methods.baselines.diversity.base import Diversity, Pool
from lit_curriculum.methods.baselines.diversity.example_vectors import ExampleVectors, NgramVectors, Vectors
from lit_curriculum.types import IntArray
from lit_curriculum.utils.options import check_range

_BLOCK = 256


class NeighbourFilter(Diversity):
    """From highest priority down, an example is taken where its largest cosine to those taken is below a threshold.

    With the product of complexity and quality as priority it is Deita's choice; without a priority (in random order)
    and with a threshold near 1 it removes near-duplicates by embedding. Similarities are made for 256 candidates at a
    time against those taken: the memory is the vectors and 256 x k numbers.

    Args:
        threshold: Cosine from which on two examples are too much alike (tau), in (0, 1].
        vectors: By which examples are compared; by default :class:`NgramVectors`.

    Raises:
        ValueError: the threshold is out of range.

    References:
        Liu et al. 2024, "What makes good data for alignment?" (Deita), arXiv 2312.15685, section 2.4.
    """

    def __init__(self, threshold: float = 0.9, vectors: ExampleVectors | None = None) -> None:
        check_range(self, "(0, 1]", threshold=threshold)
        self.threshold = threshold
        self.vectors = NgramVectors() if vectors is None else vectors

    @override
    def choose(self, pool: Pool, size: int, generator: np.random.Generator) -> IntArray:
        return far_apart(self.vectors.unit(pool.store, pool.indices), pool.order(generator), self.threshold, size)


def far_apart(vectors: Vectors, order: IntArray, threshold: float, size: int) -> IntArray:
    """The rows of ``vectors`` [n, D] that are taken, in ``order`` [n]; at most ``size``.

    Cosines are rounded to 5 digits, so that equal examples have exactly 1.
    """
    taken: list[int] = []
    for start in range(0, len(order), _BLOCK):
        rows = order[start : start + _BLOCK]
        known = len(taken)
        against_taken = (vectors[rows] @ vectors[taken].T).round(5) if known else np.zeros((len(rows), 1))
        free = against_taken.max(axis=1) < threshold
        among = (vectors[rows] @ vectors[rows].T).round(5)
        places: list[int] = []
        for place in np.flatnonzero(free).tolist():
            if not (among[place, places] >= threshold).any():
                places.append(place)
                taken.append(int(rows[place]))
                if len(taken) == size:
                    return np.array(taken, dtype=np.int64)
    return np.array(taken, dtype=np.int64)
