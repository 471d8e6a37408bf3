"""Clusters of examples, and as many drawn from each as from any other, or as its share of the data says."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from sklearn.cluster import KMeans
from typing_extensions import override

from lit_curriculum.difficulty.words import check_choice
from lit_curriculum.methods.baselines.diversity.base import Diversity, Pool
from lit_curriculum.methods.baselines.diversity.vectors import ExampleVectors, NgramVectors
from lit_curriculum.types import IntArray

Share = Literal["equal", "proportional"]
Within = Literal["random", "nearest", "priority"]


class ClusterDraw(Diversity):
    """k-means on unit vectors (scikit-learn's), then a draw from every cluster.

    With ``equal`` shares every cluster gives one example, then every one a second, and so on while it has any; the
    r-th example of a cluster of c with ``proportional`` shares comes in the order of (r - 1/2) / c, which is
    Sainte-Lague's apportionment. Cherry's pre-experience draws 10 from each of 100 clusters (arXiv 2308.12032,
    section 2.1).

    Args:
        num_clusters: k.
        share: ``equal`` or ``proportional``.
        within: Which of a cluster come first: ``random``, those ``nearest`` to its centre, or by ``priority``.
        vectors: By which examples are compared; by default :class:`NgramVectors`.

    Raises:
        ValueError: an option is out of range, or (when it chooses) there are fewer examples than clusters or no
            priority to go by.
    """

    def __init__(
        self,
        num_clusters: int = 100,
        share: Share = "equal",
        within: Within = "random",
        vectors: ExampleVectors | None = None,
    ) -> None:
        if num_clusters < 1:
            raise ValueError(f"option diversity.num_clusters must be at least 1, got {num_clusters}.")
        check_choice("diversity.share", share, get_args(Share))
        check_choice("diversity.within", within, get_args(Within))
        self.num_clusters, self.share, self.within = num_clusters, share, within
        self.vectors = NgramVectors() if vectors is None else vectors

    @property
    @override
    def name(self) -> str:
        return f"cluster-draw({self.num_clusters},{self.share},{self.within},{self.vectors.name})"

    @override
    def choose(self, pool: Pool, size: int, generator: np.random.Generator) -> IntArray:
        if len(pool) < self.num_clusters:
            raise ValueError(
                f"option diversity.num_clusters={self.num_clusters} is more than the {len(pool)} examples to choose "
                "from; lower it."
            )
        if self.within == "priority" and pool.priority is None:
            raise ValueError("option diversity.within=priority needs a score; name one in curriculum.policy.priority.")
        vectors = self.vectors.unit(pool.store, pool.indices)
        seed = int(generator.integers(2**31))
        found = KMeans(self.num_clusters, n_init=1, random_state=seed).fit(vectors)
        cluster: IntArray = found.labels_.astype(np.int64)
        if self.within == "nearest":
            distance = np.linalg.norm(vectors - found.cluster_centers_[cluster], axis=1)
            order = np.argsort(distance, kind="stable")
        else:
            order = pool.order(generator) if self.within == "priority" else generator.permutation(len(pool))
        return draw(cluster, order, self.share)[:size]


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
