"""Draw from k-means clusters, equally or in proportion to their sizes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from typing_extensions import override

from lit_curriculum.methods.baselines.diversity.base import Diversity, Pool
from lit_curriculum.methods.baselines.diversity.example_vectors import ExampleVectors, NgramVectors
from lit_curriculum.types import IntArray
from lit_curriculum.utils.options import check_range

Share = Literal["equal", "proportional"]


class ClusterDraw(Diversity):
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
        self.num_clusters, self.share = num_clusters, share
        self.vectors = NgramVectors() if vectors is None else vectors

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
