"""ROUGE-L against everything known, exact and with most pairs ruled out by counting.

References:
    Lin 2004, ROUGE, section 3; the F-measure with equal weights, on lower-cased runs of a-z and 0-9, as in the
    package rouge-score without stemming. Text in other scripts is compared by its own words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lit_curriculum.difficulty.words import WordSplitter

_ascii_words = WordSplitter("words")


def rouge_words(text: str) -> list[str]:
    """The words that ROUGE-L compares; an apostrophe separates."""
    return _ascii_words(text.replace("'", " "))


def rouge_l(a: list[str], b: list[str]) -> float:
    """F-measure of the longest common subsequence of two lists of words, in [0, 1]."""
    common = _longest_common_subsequence(a, b)
    return 2 * common / (len(a) + len(b)) if common else 0.0


def _longest_common_subsequence(a: list[str], b: list[str]) -> int:
    # Bit-parallel (Hyyro 2004): a bit of `row` is 0 where the table grows; Python's integers are as wide as `a`.
    places: dict[str, int] = {}
    for position, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << position
    full = (1 << len(a)) - 1
    row = full
    for word in b:
        matches = row & places.get(word, 0)
        row = (row + matches) | (row - matches)
    return len(a) - (row & full).bit_count()


class NearDuplicates:
    """All texts so far, and whether a new one resembles any of them.

    The longest common subsequence holds no more words than the two texts share, so pairs that share too few are left
    out by an inverted index; only the others are compared. The answer is that of comparing all.

    Args:
        threshold: A ROUGE-L above this is a resemblance.
        known: Texts to begin with.

    Raises:
        ValueError: the threshold is out of range.
    """

    def __init__(self, threshold: float = 0.7, known: Iterable[str] = ()) -> None:
        if not 0.0 < threshold <= 1.0:
            raise ValueError(f"expander.dedupe_rouge must be in (0, 1], got {threshold}.")
        self.threshold = threshold
        self._texts: set[str] = set()
        self._words: list[list[str]] = []
        self._postings: dict[str, list[tuple[int, int]]] = {}
        for text in known:
            self.add(text)

    def add(self, text: str) -> None:
        """Know one more text."""
        if text in self._texts:
            return
        self._texts.add(text)
        words = rouge_words(text)
        for word, count in Counter(words).items():
            self._postings.setdefault(word, []).append((len(self._words), count))
        self._words.append(words)

    def is_known(self, text: str) -> bool:
        """Whether exactly this text is known."""
        return text in self._texts

    def resembles(self, text: str) -> bool:
        """Whether the ROUGE-L with a known text is above the threshold."""
        words = rouge_words(text)
        shared: Counter[int] = Counter()
        for word, count in Counter(words).items():
            for number, other in self._postings.get(word, ()):
                shared[number] += min(count, other)
        return any(
            2 * common > self.threshold * (len(words) + len(self._words[number]))
            and rouge_l(words, self._words[number]) > self.threshold
            for number, common in shared.items()
        )
