"""TF-IDF novelty of texts, and greedy selection by complexity times novelty.

The n-grams of a data set are counted once; document frequencies, weights and norms belong to the pool of a stage
and are recomputed from the counts. The greedy choice is lazy and equals the plain one exactly.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import sparse

from lit_curriculum.difficulty.words import CJKWords, has_cjk, split_unspaced
from lit_curriculum.types import FloatArray, IntArray

_WORD = re.compile(r"\w\w+")
_MAX_KEY = np.iinfo(np.int64).max


def ngram_counts(texts: Sequence[str], max_ngram: int = 3, cjk_words: CJKWords = "character") -> sparse.csr_array:
    """Count the word n-grams of lengths 1 to ``max_ngram`` in every text.

    Words are lower-cased runs of at least two word characters; shorter ones vanish and their neighbours become
    adjacent. In scripts written without blanks (Han, kana, Thai, Lao, Burmese, Khmer) each character is a word, or
    with ``run`` all up to the next blank or mark, by which hardly two Chinese texts would share a word. Elsewhere, and
    with ``run`` everywhere, the matrix, columns included, is the one of scikit-learn's ``CountVectorizer``.

    Args:
        texts: The texts, N of them.
        max_ngram: Longest n-gram, in words.
        cjk_words: What counts as a word in scripts written without blanks: ``character`` or ``run``.

    Returns:
        Counts [N, number of distinct n-grams], float64; columns in alphabetical order of the n-grams.
    """
    words, lengths = _word_ranks(texts, cjk_words)
    rows = np.repeat(np.arange(len(texts)), lengths)
    words_left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(words))
    starts = [np.flatnonzero(words_left >= n) for n in range(1, max_ngram + 1)]
    # The k-th words of all n-grams, the short n-grams first; 0 where an n-gram has no k-th word.
    kth_words = (
        np.concatenate([words[s + k] if k < n else np.zeros_like(s) for n, s in enumerate(starts, 1)])
        for k in range(max_ngram)
    )
    columns = _lexicographic_ranks(kth_words, int(words.max(initial=0)) + 1)
    row = np.concatenate([rows[s] for s in starts])
    shape = (len(texts), int(columns.max(initial=-1)) + 1)
    return sparse.csr_array((np.ones(len(row)), (row, columns)), shape=shape)


def tfidf(counts: sparse.csr_array) -> sparse.csr_array:
    """Weight n-gram counts by smoothed inverse document frequency; rows have unit length.

    With n texts and g in df(g) of them, idf(g) = ln((1 + n) / (1 + df(g))) + 1; equal to scikit-learn's
    ``TfidfVectorizer`` fitted on the same pool. N-grams that no text of the pool holds do no harm.

    Args:
        counts: Counts [n, T] of the pool's rows, as :func:`ngram_counts` makes them.

    Returns:
        Weights [n, T]; an empty row stays empty.
    """
    num_texts, num_terms = counts.shape
    frequency = np.bincount(counts.indices, minlength=num_terms)
    idf = np.log((1.0 + num_texts) / (1.0 + frequency)) + 1.0
    data = counts.data * idf[counts.indices]
    rows = np.repeat(np.arange(num_texts), np.diff(counts.indptr))
    norms = np.sqrt(np.bincount(rows, weights=data * data, minlength=num_texts))
    return sparse.csr_array((data / norms[rows], counts.indices, counts.indptr), shape=counts.shape)


def novelty(weights: sparse.csr_array) -> FloatArray:
    """Novelty [n] of every row before the first choice: the sum of its weights."""
    return np.asarray(weights.sum(axis=1), dtype=np.float64)


def greedy_select(
    complexity: FloatArray,
    weights: sparse.csr_array,
    num: int,
    decay: float,
    tie_rank: IntArray | None = None,
) -> IntArray:
    """Select rows one by one by the largest complexity times remaining novelty.

    The score of row i is ``complexity[i] * sum_g weights[i, g] * decay ** c(g)``, where c(g) is the number of rows
    already chosen that hold n-gram g; a chosen row is never chosen again. No score ever rises, so a score computed
    earlier is a bound: rows wait in a heap by their last score, and only the row on top is recomputed. Every
    score is summed in the same order whenever it is computed, and rounding keeps the order of sums that
    are ordered term by term, so that the choice equals the plain greedy's to the last bit.

    Args:
        complexity: Complexity [n], finite and not negative.
        weights: N-gram weights [n, T], not negative.
        num: Rows to choose (K).
        decay: Factor on an n-gram's weight for each chosen row that holds it (lambda), in [0, 1].
        tie_rank: [n] distinct ranks; of equal scores the lowest rank wins. The row number by default.

    Returns:
        The rows chosen, in order; fewer than ``num`` where all scores have fallen to 0.

    References:
        Jia et al. 2024, "Boosting LLM via Learning from Data Iteratively and Selectively", arXiv 2412.17365.
    """
    assert 0.0 <= decay <= 1.0, "scores would rise"
    assert bool((complexity >= 0).all()), "scores would rise"
    n = len(complexity)
    ranks = range(n) if tie_rank is None else tie_rank.tolist()
    starts = weights.indptr.tolist()
    terms = weights.indices.astype(np.intp)
    data = weights.data
    remaining = np.ones(weights.shape[1])
    # All that a waiting score has to be is not too small: the margin is above any rounding error of the sum.
    bounds = complexity * novelty(weights) * (1.0 + 1e-9)
    heap = [(-bound, rank, row) for row, (bound, rank) in enumerate(zip(bounds.tolist(), ranks, strict=True))]
    heapq.heapify(heap)
    computed_after = np.full(n, -1).tolist()
    factors = complexity.tolist()
    picks: list[int] = []
    while heap and len(picks) < num:
        negative_score, rank, row = heap[0]
        if negative_score == 0.0:
            break
        held = terms[starts[row] : starts[row + 1]]
        if computed_after[row] == len(picks):
            heapq.heappop(heap)
            remaining[held] *= decay
            picks.append(row)
        else:
            score = factors[row] * float(np.add.reduce(data[starts[row] : starts[row + 1]] * remaining[held]))
            computed_after[row] = len(picks)
            heapq.heapreplace(heap, (-score, rank, row))
    return np.array(picks, dtype=np.int64)


def _words(text: str, cjk_words: CJKWords) -> list[str]:
    lowered = text.lower()
    if cjk_words == "run" or not has_cjk(lowered):
        return _WORD.findall(lowered)
    parts = split_unspaced(lowered)
    return [word for part in parts for word in ([part] if has_cjk(part) else _WORD.findall(part))]


def _word_ranks(texts: Sequence[str], cjk_words: CJKWords) -> tuple[IntArray, IntArray]:
    """Alphabetical rank (from 1) of every word of all texts in a row, and each text's number of words."""
    identity: dict[str, int] = {}
    words: list[int] = []
    lengths = np.zeros(len(texts), dtype=np.int64)
    for row, text in enumerate(texts):
        found = _words(text, cjk_words)
        lengths[row] = len(found)
        words.extend([identity.setdefault(word, len(identity)) for word in found])
    rank = np.empty(len(identity), dtype=np.int64)
    rank[[identity[word] for word in sorted(identity)]] = np.arange(1, len(identity) + 1)
    return rank[np.array(words, dtype=np.int64)], lengths


def _lexicographic_ranks(columns: Iterable[IntArray], base: int) -> IntArray:
    """Dense rank of every tuple (first column's i-th, second column's i-th, ...) of numbers below ``base``.

    A blank sorts before every word character and the absent word is 0, so the order of the tuples is the
    alphabetical order of the n-grams.
    """
    keys, bound = np.zeros(1, dtype=np.int64), 1
    for column in columns:
        if bound > _MAX_KEY // base:
            distinct, keys = np.unique(keys, return_inverse=True)
            bound = len(distinct)
        keys = keys * base + column
        bound *= base
    return np.unique(keys, return_inverse=True)[1]
