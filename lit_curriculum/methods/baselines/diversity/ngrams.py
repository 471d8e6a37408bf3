"""Coverage of n-grams on the bipartite graph of texts and n-grams."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from lit_curriculum.difficulty.words import TextField, field_text
from lit_curriculum.methods.baselines.diversity.base import Diversity, Pool
from lit_curriculum.methods.iterit.novelty import greedy_select, ngram_counts, tfidf
from lit_curriculum.types import IntArray
from lit_curriculum.utils.options import check_range


class NgramCoverage(Diversity):
    """GraphFilter: the largest priority times TF-IDF of n-grams not covered yet; an n-gram chosen once counts no more.

    The greedy choice of :func:`~lit_curriculum.methods.iterit.novelty.greedy_select` with a decay of 0, which takes
    the chosen text's n-grams off the graph; it is lazy and exact, and its memory is the counts of n-grams. Where all
    n-grams are covered, what is missing is filled by priority. Rows of TF-IDF have unit length, as in IterIT; whether
    the authors' have is not known to us.

    Args:
        text: Whose n-grams count: ``instruction``, ``response`` or ``both``.
        max_ngram: Longest n-gram, in words.

    Raises:
        ValueError: an option is out of range, or (when it chooses) a priority is negative.

    References:
        Wu et al. 2024, "The Best of Both Worlds: Bridging Quality and Diversity in Data Selection with Bipartite
        Graph" (GraphFilter), arXiv 2410.12458, section 3.
    """

    def __init__(self, text: TextField = "instruction", max_ngram: int = 3) -> None:
        check_range(self, "[1, inf)", max_ngram=max_ngram)
        self.text, self.max_ngram = text, max_ngram

    @override
    def choose(self, pool: Pool, size: int, generator: np.random.Generator) -> IntArray:
        priority = np.ones(len(pool)) if pool.priority is None else pool.priority
        if (priority < 0).any():
            worst = pool.store[int(pool.indices[int(priority.argmin())])]
            raise ValueError(
                f"n-gram coverage multiplies by the priority, but that of example {worst.id} ({worst.source}) is "
                f"{priority.min():g}; name a metric in curriculum.policy.priority that is never negative."
            )
        counts = ngram_counts([field_text(pool.store[int(i)], self.text) for i in pool.indices], self.max_ngram)
        picks = greedy_select(priority, tfidf(counts), min(size, len(pool)), 0.0)
        order = pool.order(generator)
        rest = order[~np.isin(order, picks)]
        return np.concatenate([picks, rest])[:size]
