"""Rules of diversity on texts: near-duplicates by MinHash, and coverage of n-grams."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from lit_curriculum.difficulty.words import TextField, WordSplitter, field_text
from lit_curriculum.methods.baselines.diversity.base import Diversity, Pool
from lit_curriculum.methods.iterit.novelty import greedy_select, ngram_counts, tfidf
from lit_curriculum.types import IntArray
from lit_curriculum.utils.options import check_range

if TYPE_CHECKING:
    from datasketch import MinHash

_PERMUTATIONS = 128
"""Hash functions of a signature."""


class MinHashFilter(Diversity):
    """From highest priority down (or in random order), a text is taken unless a taken one shares its shingles.

    Two texts are near-duplicates where the Jaccard index of their sets of word n-grams is at least ``threshold``.
    Candidates are found by MinHash with locality-sensitive hashing (datasketch) and decided by the exact index, so
    that nothing is removed by chance; a pair near the threshold may be missed. A text shorter than n words is one
    shingle. The time is linear in the number of texts.

    Args:
        threshold: Jaccard index from which on two texts are near-duplicates, in (0, 1].
        ngram: Words of a shingle (n).

    Raises:
        ValueError: an option is out of range, or datasketch is not installed.

    References:
        Broder 1997, "On the resemblance and containment of documents"; Lee et al. 2022, "Deduplicating Training Data
        Makes Language Models Better", arXiv 2107.06499, section 4.2.
    """

    def __init__(self, threshold: float = 0.8, ngram: int = 3) -> None:
        check_range(self, "(0, 1]", threshold=threshold)
        check_range(self, "[1, inf)", ngram=ngram)
        if importlib.util.find_spec("datasketch") is None:
            raise ValueError("MinHashFilter needs the package datasketch: pip install 'lit-curriculum[dedup]'")
        self.threshold, self.ngram = threshold, ngram
        self._words = WordSplitter()

    @override
    def choose(self, pool: Pool, size: int, generator: np.random.Generator) -> IntArray:
        from datasketch import MinHashLSH

        # Candidates cost little and are decided exactly, so the index may rather find too many than too few.
        index = MinHashLSH(min(self.threshold, 0.95), _PERMUTATIONS, weights=(0.1, 0.9))
        shingles: dict[int, frozenset[str]] = {}
        for place in pool.order(generator).tolist():
            if len(shingles) == size:
                break
            own = self.shingles(field_text(pool.store[int(pool.indices[place])], "both"))
            signature = self._signature(own)
            if any(jaccard(own, shingles[other]) >= self.threshold for other in index.query(signature)):
                continue
            index.insert(place, signature)
            shingles[place] = own
        return np.array(list(shingles), dtype=np.int64)

    def shingles(self, text: str) -> frozenset[str]:
        """The distinct word n-grams of a text."""
        words = self._words(text)
        return frozenset(" ".join(words[i : i + self.ngram]) for i in range(max(1, len(words) - self.ngram + 1)))

    def _signature(self, shingles: frozenset[str]) -> MinHash:
        from datasketch import MinHash

        signature = MinHash(_PERMUTATIONS, seed=1)
        signature.update_batch([shingle.encode() for shingle in sorted(shingles)])
        return signature


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """Size of the intersection over size of the union."""
    return len(left & right) / len(left | right)


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
