"""How long it takes to choose 2,600 of 52,002 texts: fitting the n-gram weights, and the greedy choice.

python -m experiments.benchmarks.selection --out DIR [--quick] [--data FILE]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from experiments.common import (
    Row,
    Timing,
    benchmark_options,
    print_rows,
    read_responses,
    summary,
    time_interleaved,
    write_results,
)
from lit_curriculum.methods.iterit.novelty import greedy_select, ngram_counts, tfidf
from lit_curriculum.types import FloatArray

DECAY = 0.1
MEAN_WORDS = 45
NUM_WORDS = 30_000
PICKS_PER_ROUND = 10


class PlainLoop:
    """Recompute all scores before every pick, by one product of the weight matrix with the n-grams' remaining share."""

    def __init__(self, complexity: FloatArray, weights: sparse.csr_array) -> None:
        self.complexity, self.weights = complexity, weights
        self.remaining = np.ones(weights.shape[1])
        self.open = np.ones(len(complexity))
        self.picks: list[int] = []

    def advance(self) -> None:
        """Make the next picks."""
        for _ in range(PICKS_PER_ROUND):
            best = int(np.argmax(self.complexity * self.open * (self.weights @ self.remaining)))
            self.remaining[self.weights.indices[self.weights.indptr[best] : self.weights.indptr[best + 1]]] *= DECAY
            self.open[best] = 0.0
            self.picks.append(best)


class MatrixLoop:
    """The loop as the field's code writes it: the weights change in the column-sparse matrix, n-gram by n-gram."""

    def __init__(self, complexity: FloatArray, weights: sparse.csr_array) -> None:
        self.complexity, self.weights = complexity, weights.tocsc(copy=True)
        self.picks: list[int] = []

    def advance(self) -> None:
        """Make the next picks."""
        for _ in range(PICKS_PER_ROUND):
            best = int(np.argmax(self.complexity * np.asarray(self.weights.sum(axis=1)).ravel()))
            row = self.weights[[best], :].tocoo()
            for term in row.coords[1][row.data != 0.0]:
                self.weights.data[self.weights.indptr[term] : self.weights.indptr[term + 1]] *= DECAY
                self.weights[best, term] = 0.0
            self.picks.append(best)


def synthetic_texts(num: int, seed: int = 0) -> list[str]:
    """Texts of Zipf-distributed words, lengths log-normal around a mean of 45 words."""
    generator = np.random.default_rng(seed)
    share = 1.0 / np.arange(1, NUM_WORDS + 1)
    lengths = generator.lognormal(np.log(MEAN_WORDS) - 0.405, 0.9, num).astype(int).clip(min=1)
    words = generator.choice(np.array([f"w{k:x}" for k in range(NUM_WORDS)]), lengths.sum(), p=share / share.sum())
    ends = np.cumsum(lengths)
    return [" ".join(words[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def measure(label: str, texts: Sequence[str], num_picks: int, rounds: int) -> list[Row]:
    """All rows for one set of texts."""
    complexity = np.random.default_rng(1).uniform(0.3, 1.0, len(texts))
    counts = ngram_counts(texts)
    weights = tfidf(counts)
    plain, matrix = PlainLoop(complexity, weights), MatrixLoop(complexity, weights)
    vectorizer = TfidfVectorizer(ngram_range=(1, 3))
    timings = time_interleaved(
        {
            "count": lambda: ngram_counts(texts),
            "weigh": lambda: tfidf(counts),
            "greedy": lambda: greedy_select(complexity, weights, num_picks, DECAY),
            "plain": plain.advance,
            "matrix": matrix.advance,
            "sklearn": lambda: vectorizer.fit_transform(texts),
        },
        rounds,
    )
    picks = greedy_select(complexity, weights, num_picks, DECAY)
    rows: list[Row] = [
        {"name": f"{label}: texts", "value": len(texts), "unit": "texts"},
        {"name": f"{label}: weights", "value": weights.nnz, "unit": "entries"},
        {"name": f"{label}: picks", "value": len(picks), "unit": "texts"},
    ]
    rows += timings["count"].rows(f"{label}: n-gram counts, once per data set")
    rows += timings["weigh"].rows(f"{label}: TF-IDF weights, once per stage")
    rows += timings["greedy"].rows(f"{label}: greedy choice, ours")
    whole = [
        sum(parts)
        for parts in zip(timings["count"].seconds, timings["weigh"].seconds, timings["greedy"].seconds, strict=True)
    ]
    rows.append(summary(f"{label}: counts, weights and choice", whole, "s"))
    rows += timings["sklearn"].rows(f"{label}: scikit-learn's TfidfVectorizer")
    for name, loop, text in (("plain", plain, "one product a pick"), ("matrix", matrix, "on the sparse matrix")):
        title = f"plain loop {text}"
        ratios = _ratios(timings[name], timings["greedy"], num_picks)
        rows += timings[name].rows(f"{label}: {title}, per pick", per=PICKS_PER_ROUND)
        rows.append(summary(f"{label}: {title} over ours", ratios, "times"))
        same = int((picks[: len(loop.picks)] == loop.picks[: len(picks)]).sum())
        rows.append({"name": f"{label}: {title}, picks equal to ours", "value": same, "unit": f"of {len(loop.picks)}"})
    return rows


def whole_choice_agrees(texts: Sequence[str], num_picks: int) -> Row:
    """Every pick of a plain loop on a subsample against ours."""
    complexity = np.random.default_rng(2).uniform(0.3, 1.0, len(texts))
    weights = tfidf(ngram_counts(texts))
    loop = PlainLoop(complexity, weights)
    while len(loop.picks) < num_picks:
        loop.advance()
    same = int((greedy_select(complexity, weights, num_picks, DECAY) == loop.picks[:num_picks]).sum())
    name = f"subsample of {len(texts)} texts: picks equal to the plain loop's"
    return {"name": name, "value": same, "unit": f"of {num_picks}"}


def _ratios(loop: Timing, ours: Timing, num_picks: int) -> list[float]:
    """The loop's time for all picks, at its time per pick, over ours; round by round."""
    return [a / PICKS_PER_ROUND * num_picks / b for a, b in zip(loop.seconds, ours.seconds, strict=True)]


def main() -> None:
    options, files = benchmark_options(__doc__, quick="4,000 texts and 200 picks, to see that it runs")
    num, rounds = (4_000, 2) if options.quick else (52_002, 5)
    texts = synthetic_texts(num)
    rows = measure("synthetic", texts, num // 20, rounds)
    rows.append(whole_choice_agrees(texts[:2_000], 500))
    for file in files:
        responses = read_responses(file, num)
        rows += measure(file.name, responses, len(responses) // 20, rounds)
    config = {
        "decay": DECAY,
        "max_ngram": 3,
        "rounds": rounds,
        "picks_per_round_of_the_loops": PICKS_PER_ROUND,
        "mean_words": MEAN_WORDS,
        "distinct_words": NUM_WORDS,
        "text_seed": 0,
        "complexity": "uniform in [0.3, 1), seed 1",
        "quick": options.quick,
    }
    path = write_results(options.out, rows, config, files)
    print_rows(rows)
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
