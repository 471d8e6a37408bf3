"""Facility location: the chosen examples are together close to all others."""

from __future__ import annotations

import heapq

import numpy as np
from typing_extensions import override

from lit_curriculum.methods.baselines.diversity.base import Diversity, Pool
from lit_curriculum.methods.baselines.diversity.example_vectors import ExampleVectors, NgramVectors, Vectors
from lit_curriculum.types import FloatArray, IntArray

_BLOCK = 256
_AT_ONCE = 16
_MARGIN = 1.0 + 1e-6


class FacilityLocation(Diversity):
    """Greedy maximum of ``f(S) = sum_i max_{j in S} max(0, cos(i, j))`` over the pool.

    The greedy choice is within 1 - 1/e of the best one (Nemhauser et al. 1978). It is made lazily (Minoux 1978): gains
    never rise, so a gain computed earlier is a bound, and only the top ones are recomputed. Similarities are
    made in blocks when they are needed: the memory is n vectors and n x 256 numbers, never n x n.

    Args:
        vectors: By which examples are compared; by default :class:`NgramVectors`.

    References:
        Li et al. 2024, "Superfiltering", arXiv 2402.00530, section 4 (Superfiltering.D, with IFD as a first filter).
    """

    def __init__(self, vectors: ExampleVectors | None = None) -> None:
        self.vectors = NgramVectors() if vectors is None else vectors

    @override
    def choose(self, pool: Pool, size: int, generator: np.random.Generator) -> IntArray:
        del generator
        return lazy_greedy(self.vectors.unit(pool.store, pool.indices), size)


def lazy_greedy(vectors: Vectors, size: int) -> IntArray:
    """Rows of ``vectors`` [n, D] in order of choice, ``size`` or n of them; of equal gains the first row wins."""
    n = len(vectors)
    covered = np.zeros(n, dtype=np.float32)
    gains = np.concatenate([_gains(vectors, covered, np.arange(s, min(s + _BLOCK, n))) for s in range(0, n, _BLOCK)])
    heap = [(-gain, row) for row, gain in enumerate((gains * _MARGIN).tolist())]
    heapq.heapify(heap)
    picks: list[int] = []
    while heap and len(picks) < size:
        best_gain, best_row = -1.0, n
        looked_at: list[tuple[float, int]] = []
        # A bound below the best exact gain cannot win; one equal to it may, by a lower row.
        while heap and -heap[0][0] >= best_gain:
            rows = [heapq.heappop(heap)[1] for _ in range(min(_AT_ONCE, len(heap)))]
            for row, gain in zip(rows, _gains(vectors, covered, np.array(rows)).tolist(), strict=True):
                looked_at.append((-gain * _MARGIN, row))
                if gain > best_gain or (gain == best_gain and row < best_row):
                    best_gain, best_row = gain, row
        picks.append(best_row)
        for item in looked_at:
            if item[1] != best_row:
                heapq.heappush(heap, item)
        covered = np.maximum(covered, vectors @ vectors[best_row])
    return np.array(picks, dtype=np.int64)


def _gains(vectors: Vectors, covered: Vectors, rows: IntArray) -> FloatArray:
    """By how much ``f`` grows with each of ``rows`` [k], where ``covered`` [n] is what the chosen reach already."""
    similarities = vectors @ vectors[rows].T
    gains: FloatArray = np.maximum(similarities - covered[:, None], 0.0).sum(axis=0, dtype=np.float64)
    return gains
