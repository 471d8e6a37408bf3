"""Compression ratio as a difficulty metric: how much of a text repeats itself."""

from __future__ import annotations

import zlib

import numpy as np

from lit_curriculum.difficulty.base import TextMetric
from lit_curriculum.difficulty.words import TextField, field_text
from lit_curriculum.types import ExampleStore, FloatArray

_LEVEL = 9


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
