"""Compression ratio against zlib itself."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest

from lit_curriculum.difficulty.text_metrics import CompressionRatio
from tests.conftest import ListStore, make_example


def test_ratio_is_bytes_over_compressed_bytes() -> None:
    texts = ["na " * 100, "Zürich liegt am See.", ""]
    store = ListStore([make_example(i, text, instruction="Sing 去.") for i, text in enumerate(texts)])
    scores = CompressionRatio().score(store)
    for text, score in zip(texts[:2], scores[:2], strict=True):
        data = text.encode("utf-8")
        assert score == len(data) / len(zlib.compress(data, 9))
    assert scores[0] > 10 > 1 > scores[1]
    assert math.isnan(scores[2])
    both = CompressionRatio(field="both").score(store)
    data = f"Sing 去.\n{texts[0]}".encode()
    assert both[0] == len(data) / len(zlib.compress(data, 9))
    assert np.unique(CompressionRatio(field="instruction").score(store)).size == 1


def test_formula_names_field_and_level() -> None:
    assert CompressionRatio().formula == "compression-ratio/1(response,zlib9)"
    assert CompressionRatio("both").formula == "compression-ratio/1(both,zlib9)"
    assert not CompressionRatio.higher_is_harder


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="field must be one of instruction"):
        CompressionRatio(field="output")  # type: ignore[arg-type]
