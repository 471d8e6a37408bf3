"""MTLD, the measure of textual lexical diversity, with every convention that tools differ in as a named option."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from lit_curriculum.difficulty.base import TextMetric
from lit_curriculum.difficulty.words import (
    CJKWords,
    TextField,
    WordConvention,
    WordSplitter,
    field_text,
)
from lit_curriculum.types import ExampleStore, FloatArray

Tie = Literal["below", "at_or_below"]
Partial = Literal["kept", "dropped"]
NoFactor = Literal["length", "nan"]
LastWord = Literal["closes", "partial"]
Average = Literal["words_per_factor", "factor_lengths"]


class Factors(NamedTuple):
    """One pass over a text: the lengths of its full factors, and the unfinished stretch at its end."""

    lengths: list[int]
    """Words of each full factor."""
    rest: int
    """Words after the last full factor."""
    rest_ttr: float
    """Types per word of that rest; 1 where there is none."""


def mtld_factors(
    words: Iterable[str],
    *,
    threshold: float = 0.72,
    tie: Tie = "below",
    min_factor_words: int = 1,
    last_word: LastWord = "closes",
) -> Factors:
    """Cut ``words`` into stretches that end where the type-token ratio falls to ``threshold``; see :func:`mtld`."""
    lengths: list[int] = []
    types: set[str] = set()
    add = types.add
    count = 0
    ratio = closing_ratio = 1.0
    # One comparison serves both ties: at or below x is below the next number after x.
    limit = threshold if tie == "below" else math.nextafter(threshold, 2.0)
    for word in words:
        add(word)
        count += 1
        ratio = len(types) / count
        if ratio < limit and count >= min_factor_words:
            lengths.append(count)
            closing_ratio = ratio
            types.clear()
            count = 0
            ratio = 1.0
    if count == 0 and lengths and last_word == "partial":
        return Factors(lengths[:-1], lengths[-1], closing_ratio)
    return Factors(lengths, count, ratio)


def mtld(
    words: Sequence[str],
    *,
    threshold: float = 0.72,
    tie: Tie = "below",
    partial: Partial = "kept",
    no_factor: NoFactor = "length",
    min_factor_words: int = 1,
    last_word: LastWord = "closes",
    average: Average = "words_per_factor",
) -> float:
    """Mean number of words over which a text keeps its type-token ratio above ``threshold``, read in both directions.

    The defaults are McCarthy and Jarvis' definition. Three packages are matched to the last digit by

    =======================  ===========  ====================  =============  ================
    package                  ``tie``      ``min_factor_words``  ``last_word``  ``average``
    =======================  ===========  ====================  =============  ================
    lexicalrichness 0.5.1    at_or_below  1                     closes         words_per_factor
    lexical-diversity 0.1.1  below        10                    partial        words_per_factor
    taaled 0.32              below        10                    partial        factor_lengths
    =======================  ===========  ====================  =============  ================

    all three with partial factors kept, and lexicalrichness with ``no_factor="length"``.

    Args:
        words: The words of one text, in order.
        threshold: The ratio of types to words at which a factor is full (0.72 in the paper).
        tie: A factor is full ``below`` the threshold, or already ``at_or_below`` it.
        partial: The unfinished stretch at the end, of ratio r, counts as (1 - r) / (1 - threshold) of a factor
            (``kept``), or its words are left out (``dropped``).
        no_factor: Score of a direction without any factor, that is without a repeated word (or, with partial
            factors dropped, without a full factor): the ``length`` of the text in words, or ``nan``.
        min_factor_words: A factor is not closed before it has this many words.
        last_word: Whether a factor that the last word fills ``closes``, or is weighed like an unfinished one
            (``partial``), which makes it a little more than one factor.
        average: ``words_per_factor``, words over factors, the mean of the two directions; or ``factor_lengths``,
            the mean length of all factors of both directions, an unfinished one extended to the length at which
            it would be full.

    Returns:
        The score in words; NaN for an empty text.

    References:
        McCarthy and Jarvis 2010, "MTLD, vocd-D, and HD-D: A validation study of sophisticated approaches to
        lexical diversity assessment", Behavior Research Methods 42.
    """
    if not words:
        return math.nan
    both = [
        mtld_factors(w, threshold=threshold, tie=tie, min_factor_words=min_factor_words, last_word=last_word)
        for w in (words, words[::-1])
    ]
    without_factor = float(len(words)) if no_factor == "length" else math.nan
    if average == "words_per_factor":
        forward, backward = (_words_per_factor(f, threshold, partial, without_factor) for f in both)
        return (forward + backward) / 2
    lengths = [float(n) for f in both for n in f.lengths]
    if partial == "kept":
        lengths += [f.rest * (1 - threshold) / (1 - f.rest_ttr) for f in both if f.rest_ttr < 1]
    return sum(lengths) / len(lengths) if lengths else without_factor


def _words_per_factor(factors: Factors, threshold: float, partial: Partial, without_factor: float) -> float:
    words, number = float(sum(factors.lengths)), float(len(factors.lengths))
    if partial == "kept":
        words += factors.rest
        number += (1 - factors.rest_ttr) / (1 - threshold)
    return words / number if number > 0 else without_factor


class MTLD(TextMetric):
    """Lexical diversity of a text by :func:`mtld`; more diverse counts as harder.

    Short texts make MTLD noisy, and without a repeated word it is their length; ``min_words`` with a
    ``short_score`` says what becomes of them.

    Args:
        field: The text: ``instruction``, ``response`` or ``both``.
        words: Convention by which text becomes words; see :class:`~lit_curriculum.WordSplitter`.
        cjk_words: What counts as a word in scripts without blanks: ``character`` or ``run``.
        threshold: See :func:`mtld`, like the next six.
        tie: ``below`` or ``at_or_below``.
        partial: ``kept`` or ``dropped``.
        no_factor: ``length`` or ``nan``; NaN marks the example as unscorable.
        min_factor_words: Words that a factor has at least.
        last_word: ``closes`` or ``partial``.
        average: ``words_per_factor`` or ``factor_lengths``.
        min_words: A text of fewer words is short.
        short_score: Score of a short text, in words; null makes it unscorable.

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
        tie: Tie = "below",
        partial: Partial = "kept",
        no_factor: NoFactor = "length",
        min_factor_words: int = 1,
        last_word: LastWord = "closes",
        average: Average = "words_per_factor",
        min_words: int = 1,
        short_score: float | None = None,
    ) -> None:
        if not 0.0 < threshold < 1.0:
            raise ValueError(f"option threshold must lie between 0 and 1, got {threshold}; the usual value is 0.72.")
        if min_factor_words < 1 or min_words < 1:
            raise ValueError(
                f"options min_factor_words and min_words must be at least 1, got {min_factor_words} and {min_words}."
            )
        if short_score is not None and not math.isfinite(short_score):
            raise ValueError(f"option short_score must be a finite number or null, got {short_score}.")
        self.field = field
        self.threshold = threshold
        self.tie = tie
        self.partial = partial
        self.no_factor = no_factor
        self.min_factor_words = min_factor_words
        self.last_word = last_word
        self.average = average
        self.min_words = min_words
        self.short_score = math.nan if short_score is None else short_score
        self._split = WordSplitter(words, cjk_words)

    @property
    def formula(self) -> str:
        parts = (
            self.field,
            self._split.name,
            f"threshold={self.threshold}",
            f"tie={self.tie}",
            f"partial={self.partial}",
            f"no_factor={self.no_factor}",
            f"min_factor_words={self.min_factor_words}",
            f"last_word={self.last_word}",
            f"average={self.average}",
            f"short={self.min_words}:{self.short_score}",
        )
        return f"mtld/1({','.join(parts)})"

    def score(self, examples: ExampleStore) -> FloatArray:
        return np.array([self.score_text(field_text(examples[i], self.field)) for i in range(len(examples))])

    def score_text(self, text: str) -> float:
        """Score of one text, in words; NaN where it is unscorable."""
        words = self._split(text)
        if len(words) < self.min_words:
            return self.short_score
        return mtld(
            words,
            threshold=self.threshold,
            tie=self.tie,
            partial=self.partial,
            no_factor=self.no_factor,
            min_factor_words=self.min_factor_words,
            last_word=self.last_word,
            average=self.average,
        )
