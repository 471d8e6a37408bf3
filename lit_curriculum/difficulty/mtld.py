"""MTLD, the measure of textual lexical diversity, as defined by its authors or as in one of three packages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from lit_curriculum.difficulty.base import TextMetric
from lit_curriculum.difficulty.words import CJKWords, TextField, WordConvention, WordSplitter, field_text
from lit_curriculum.types import ExampleStore, FloatArray
from lit_curriculum.utils.options import check_range

Variant = Literal["paper", "lexicalrichness", "lexical_diversity", "taaled"]


class _Rules(NamedTuple):
    """Conventions that packages differ in; the defaults are McCarthy and Jarvis' definition."""

    tie_closes: bool = False
    """Whether a factor is full at the threshold already, and not only below it."""
    min_factor_words: int = 1
    """A factor is not closed before it has this many words."""
    last_word_closes: bool = True
    """Whether the last word may close a factor; otherwise that factor is weighed like an unfinished one."""
    mean_of_factors: bool = False
    """Score by the mean length of all factors of both directions, unfinished ones extended to their full length.
    Otherwise by words over factors, averaged over the two directions."""


VARIANTS: dict[Variant, _Rules] = {
    "paper": _Rules(),
    "lexicalrichness": _Rules(tie_closes=True),
    "lexical_diversity": _Rules(min_factor_words=10, last_word_closes=False),
    "taaled": _Rules(min_factor_words=10, last_word_closes=False, mean_of_factors=True),
}


class Factors(NamedTuple):
    """One pass over a text: the lengths of its full factors, and the unfinished stretch at its end."""

    lengths: list[int]
    """Words of each full factor."""
    rest: int
    """Words after the last full factor."""
    rest_ttr: float
    """Types per word of that rest; 1 where there is none."""


def mtld_factors(words: Iterable[str], threshold: float = 0.72, variant: Variant = "paper") -> Factors:
    """Cut ``words`` into stretches that end where the type-token ratio falls to ``threshold``; see :func:`mtld`."""
    rules = VARIANTS[variant]
    lengths: list[int] = []
    types: set[str] = set()
    add, min_words = types.add, rules.min_factor_words
    count = 0
    ratio = closing_ratio = 1.0
    # One comparison serves both ties: at or below x is below the next number after x.
    limit = math.nextafter(threshold, 2.0) if rules.tie_closes else threshold
    for word in words:
        add(word)
        count += 1
        ratio = len(types) / count
        if ratio < limit and count >= min_words:
            lengths.append(count)
            closing_ratio = ratio
            types.clear()
            count = 0
            ratio = 1.0
    if count == 0 and lengths and not rules.last_word_closes:
        return Factors(lengths[:-1], lengths[-1], closing_ratio)
    return Factors(lengths, count, ratio)


def mtld(words: Sequence[str], threshold: float = 0.72, variant: Variant = "paper") -> float:
    """Mean number of words over which a text keeps its type-token ratio above ``threshold``, read in both directions.

    An unfinished stretch at the end, of ratio r, counts as (1 - r) / (1 - threshold) of a factor. Without any factor,
    that is without a repeated word, the score is the length of the text.

    Args:
        words: The words of one text, in order.
        threshold: The ratio of types to words at which a factor is full (0.72 in the paper).
        variant: ``paper``, or a package that is matched to the last digit: ``lexicalrichness`` (0.5.1),
            ``lexical_diversity`` (0.1.1) or ``taaled`` (0.32).

    Returns:
        The score in words; NaN for an empty text.

    References:
        McCarthy and Jarvis 2010, "MTLD, vocd-D, and HD-D: A validation study of sophisticated approaches to
        lexical diversity assessment", Behavior Research Methods 42.
    """
    if not words:
        return math.nan
    both = [mtld_factors(direction, threshold, variant) for direction in (words, words[::-1])]
    if VARIANTS[variant].mean_of_factors:
        lengths = [float(n) for f in both for n in f.lengths]
        lengths += [f.rest * (1 - threshold) / (1 - f.rest_ttr) for f in both if f.rest_ttr < 1]
        return sum(lengths) / len(lengths) if lengths else float(len(words))
    forward, backward = (_words_per_factor(f, threshold) for f in both)
    return (forward + backward) / 2


def _words_per_factor(factors: Factors, threshold: float) -> float:
    words = float(sum(factors.lengths)) + factors.rest
    number = float(len(factors.lengths)) + (1 - factors.rest_ttr) / (1 - threshold)
    return words / number if number > 0 else words


class MTLD(TextMetric):
    """Lexical diversity of a text by :func:`mtld`; more diverse counts as harder.

    Short texts make MTLD noisy, and without a repeated word it is their length.

    Args:
        field: The text: ``instruction``, ``response`` or ``both``.
        words: Convention by which text becomes words; see :class:`~lit_curriculum.WordSplitter`.
        cjk_words: What counts as a word in scripts without blanks: ``character`` or ``run``.
        threshold: Ratio of types to words at which a factor is full.
        variant: ``paper``, ``lexicalrichness``, ``lexical_diversity`` or ``taaled``; see :func:`mtld`.

    Raises:
        ValueError: an option is out of range.
    """

    unit = "words"

    def __init__(
        self,
        field: TextField = "response",
        words: WordConvention = "words",
        cjk_words: CJKWords = "character",
        threshold: float = 0.72,
        variant: Variant = "paper",
    ) -> None:
        check_range(self, "(0, 1)", threshold=threshold)
        self.field, self.threshold = field, threshold
        self.variant: Variant = variant
        self._split = WordSplitter(words, cjk_words)

    @property
    def formula(self) -> str:
        rules = VARIANTS[self.variant]
        tie, last = (
            ("at_or_below" if rules.tie_closes else "below"),
            ("closes" if rules.last_word_closes else "partial"),
        )
        average = "factor_lengths" if rules.mean_of_factors else "words_per_factor"
        # The conventions rather than the variant's name: stored scores stay valid when a variant is added.
        return (
            f"mtld/1({self.field},{self._split.name},threshold={self.threshold},tie={tie},partial=kept,"
            f"no_factor=length,min_factor_words={rules.min_factor_words},last_word={last},average={average},short=1:nan)"
        )

    def score(self, examples: ExampleStore) -> FloatArray:
        return np.array([self.score_text(field_text(examples[i], self.field)) for i in range(len(examples))])

    def score_text(self, text: str) -> float:
        """Score of one text, in words; NaN where it has none."""
        return mtld(self._split(text), self.threshold, self.variant)
