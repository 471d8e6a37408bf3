"""Rules of diversity on vectors: clusters, facility location, k-center and nearest neighbours."""

from __future__ import annotations

import heapq
from typing import Literal

import numpy as np
from typing_extensions import override

from lit_curriculum.methods.baselines.diversity.base import Diversity, Pool
from lit_curriculum.methods.baselines.diversity.example_vectors import ExampleVectors, NgramVectors, Vectors
from lit_curriculum.types import FloatArray, IntArray
from lit_curriculum.utils.options import check_range

Share = Literal["equal", "proportional"]
_BLOCK = 256
_AT_ONCE = 16
_MARGIN = 1.0 + 1e-6


class VectorRule(Diversity):
    """Base class of rules that compare unit vectors of examples.

    Args:
        vectors: By which examples are compared; by default :class:`NgramVectors`.
    """

    def __init__(self, vectors: ExampleVectors | None = None) -> None:
        self.vectors = NgramVectors() if vectors is None else vectors


class ClusterDraw(VectorRule):
    """k-means on unit vectors (scikit-learn's), then a random draw from every cluster.

    With ``equal`` shares every cluster gives one example, then every one a second, and so on while it has any; the
    r-th example of a cluster of c with ``proportional`` shares comes in the order of (r - 1/2) / c, which is
    Sainte-Lague's apportionment. Cherry's pre-experience draws 10 from each of 100 clusters (arXiv 2308.12032,
    section 2.1).

    Args:
        num_clusters: k.
        share: ``equal`` or ``proportional``.
        vectors: By which examples are compared; by default :class:`NgramVectors`.

    Raises:
        ValueError: an option is out of range, or (when it chooses) there are fewer examples than clusters.
    """

    def __init__(self, num_clusters: int = 100, share: Share = "equal", vectors: ExampleVectors | None = None) -> None:
        check_range(self, "[1, inf)", num_clusters=num_clusters)
        super().__init__(vectors)
        self.num_clusters, self.share = num_clusters, share

    @override
    def choose(self, pool: Pool, size: int, generator: np.random.Generator) -> IntArray:
        if len(pool) < self.num_clusters:
            raise ValueError(
                f"option diversity.num_clusters={self.num_clusters} is more than the {len(pool)} examples to choose "
                "from; lower it."
            )
        vectors = self.vectors.unit(pool.store, pool.indices)
        seed = int(generator.integers(2**31))
        from sklearn.cluster import KMeans  # imported here, as it takes long

        cluster = KMeans(self.num_clusters, n_init=1, random_state=seed).fit(vectors).labels_.astype(np.int64)
        return draw(cluster, generator.permutation(len(pool)), self.share)[:size]


def draw(cluster: IntArray, order: IntArray, share: Share) -> IntArray:
    """All places in order of choice.

    Args:
        cluster: [n] cluster of each place.
        order: [n] places, those first that come first within their cluster.
        share: ``equal`` or ``proportional``.
    """
    of_place = cluster[order]
    rank = np.empty(len(order), dtype=np.int64)
    for c in np.unique(of_place):
        members = np.flatnonzero(of_place == c)
        rank[members] = np.arange(len(members))
    turn = rank + 0.5
    if share == "proportional":
        turn = turn / np.bincount(cluster)[of_place]
    # Of equal turns the place that comes first in the order, so that no cluster is preferred for its number.
    return order[np.argsort(turn, kind="stable")]


class FacilityLocation(VectorRule):
    """Greedy maximum of ``f(S) = sum_i max_{j in S} max(0, cos(i, j))`` over the pool.

    The greedy choice is within 1 - 1/e of the best one (Nemhauser et al. 1978). It is made lazily (Minoux 1978): gains
    never rise, so a gain computed earlier is a bound, and only the top ones are recomputed. Similarities are
    made in blocks when they are needed: the memory is n vectors and n x 256 numbers, never n x n.

    Args:
        vectors: By which examples are compared; by default :class:`NgramVectors`.

    References:
        Li et al. 2024, "Superfiltering", arXiv 2402.00530, section 4 (Superfiltering.D, with IFD as a first filter).
    """

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


class KCenterGreedy(VectorRule):
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


class NeighbourFilter(VectorRule):
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
        super().__init__(vectors)
        self.threshold = threshold

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
