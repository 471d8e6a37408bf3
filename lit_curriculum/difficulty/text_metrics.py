"""Metrics of the text alone: length and compression ratio."""

from __future__ import annotations

import zlib
from typing import Literal

import numpy as np

from lit_curriculum.difficulty.base import TextMetric
from lit_curriculum.difficulty.words import (
    CJKWords,
    TextField,
    WordSplitter,
    field_text,
)
from lit_curriculum.types import CONDITIONED, ExampleStore, FloatArray

LengthUnit = Literal["words", "characters", "tokens"]
_LEVEL = 9


class Length(TextMetric):
    """Length of the instruction, the response or both; longer counts as harder.

    Tokens are those of the conditioned view, after truncation: the response's are its scored tokens (the turn's
    end among them), ``both`` is the whole conversation with its template, and the instruction's are the rest.

    Args:
        field: ``instruction``, ``response`` or ``both``.
        unit: ``words``, ``characters`` (Unicode code points) or ``tokens``.
        cjk_words: What counts as a word in scripts without blanks: ``character`` or ``run``.

    Raises:
        ValueError: an option is none of the names above.
    """

    def __init__(
        self,
        field: TextField = "response",
        unit: LengthUnit = "tokens",
        cjk_words: CJKWords = "character",
    ) -> None:
        self.field = field
        self.unit: LengthUnit = unit
        self._split = WordSplitter("words", cjk_words)

    @property
    def formula(self) -> str:
        words = f",{self._split.name}" if self.unit == "words" else ""
        return f"length/1({self.field},{self.unit}{words})"

    def score(self, examples: ExampleStore) -> FloatArray:
        if self.unit == "tokens":
            return self._tokens(examples)
        texts = (field_text(examples[i], self.field) for i in range(len(examples)))
        if self.unit == "characters":
            return np.array([len(text) for text in texts], dtype=np.float64)
        return np.array([len(self._split(text)) for text in texts], dtype=np.float64)

    def _tokens(self, examples: ExampleStore) -> FloatArray:
        if self.field == "response":
            return examples.num_scored(CONDITIONED).astype(np.float64)
        if self.field == "both":
            return examples.lengths(CONDITIONED).astype(np.float64)
        return (examples.lengths(CONDITIONED) - examples.num_scored(CONDITIONED)).astype(np.float64)


class CompressionRatio(TextMetric):
    """UTF-8 bytes of a text over its bytes after zlib: high where the text repeats itself, below 1 where it is short.

    Repetitive text says little that is new, so a lower ratio counts as harder. The few bytes that zlib adds to every
    text weigh on short ones: compare texts of similar length, or control for
    :class:`~lit_curriculum.Length`. An empty text has no score.

    Args:
        field: ``instruction``, ``response`` or ``both``.
        level: Effort of zlib, 1 to 9; it is part of the formula id, since the ratio changes with it.

    Raises:
        ValueError: an option is out of range.

    References:
        The ratio as a measure of data: Yin et al. 2024, "Entropy Law", arXiv 2407.06645, section 3.
    """

    higher_is_harder = False
    unit = "bytes per compressed byte"

    def __init__(self, field: TextField = "response") -> None:
        self.field = field

    @property
    def formula(self) -> str:
        return f"compression-ratio/1({self.field},zlib{_LEVEL})"

    def score(self, examples: ExampleStore) -> FloatArray:
        texts = (field_text(examples[i], self.field).encode() for i in range(len(examples)))
        return np.array([compression_ratio(text) for text in texts], dtype=np.float64)


def compression_ratio(text: bytes) -> float:
    """Length of ``text`` over its length after zlib at its highest level; NaN where it is empty."""
    return len(text) / len(zlib.compress(text, _LEVEL)) if text else float("nan")
