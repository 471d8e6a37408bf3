"""k-center greedy: each choice is the example that is furthest from all chosen so far."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from lit_curriculum.methods.baselines.diversity.base import Diversity, Pool
from lit_curriculum.methods.baselines.diversity.example_vectors import ExampleVectors, NgramVectors, Vectors
from lit_curriculum.types import IntArray


class KCenterGreedy(Diversity):
    """Furthest-first: ``argmax_i min_{j in S} (1 - cos(i, j))``, within twice the best covering radius.

    It begins with the example of highest priority, or without one with the example nearest to the mean. Distances to
    the chosen are kept as one number an example, so the memory is the vectors and n numbers; the time is k products
    of a matrix and a vector.

    Args:
        vectors: By which examples are compared; by default :class:`NgramVectors`.

    References:
        Sener and Savarese 2018, "Active Learning for Convolutional Neural Networks: A Core-Set Approach",
        arXiv 1708.00489, algorithm 1.
    """

    def __init__(self, vectors: ExampleVectors | None = None) -> None:
        self.vectors = NgramVectors() if vectors is None else vectors

    @override
    def choose(self, pool: Pool, size: int, generator: np.random.Generator) -> IntArray:
        vectors = self.vectors.unit(pool.store, pool.indices)
        if pool.priority is None:
            return furthest_first(vectors, int(np.argmax(vectors @ vectors.mean(axis=0))), size)
        return furthest_first(vectors, int(pool.order(generator)[0]), size)


def furthest_first(vectors: Vectors, first: int, size: int) -> IntArray:
    """Rows of ``vectors`` [n, D] in order of choice from ``first`` on; of equal distances the first row wins."""
    picks = np.empty(min(size, len(vectors)), dtype=np.int64)
    distance = np.full(len(vectors), np.inf, dtype=np.float32)
    row = first
    for place in range(len(picks)):
        picks[place] = row
        distance = np.minimum(distance, 1.0 - vectors @ vectors[row])
        distance[row] = -np.inf
        row = int(np.argmax(distance))
    return picks
