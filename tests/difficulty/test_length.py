"""Length in words, characters and tokens."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum.difficulty.text_metrics import Length
from tests.conftest import ListStore, make_example


def test_every_field_and_unit_by_hand() -> None:
    store = ListStore([make_example(0, "It's fine.", "Tell me, how is it?"), make_example(1, "", "Hé")])
    expected = {
        ("response", "words"): [2, 0],
        ("instruction", "words"): [5, 1],
        ("both", "words"): [7, 1],
        ("response", "characters"): [10, 0],
        ("instruction", "characters"): [19, 2],
        ("both", "characters"): [30, 3],
        # A token of the toy store is a byte, and its template adds two around the instruction.
        ("response", "tokens"): [10, 0],
        ("instruction", "tokens"): [21, 5],
        ("both", "tokens"): [31, 5],
    }
    for (field, unit), values in expected.items():
        metric = Length(field=field, unit=unit)  # type: ignore[arg-type]
        np.testing.assert_array_equal(metric.score(store), values)
        assert metric.unit == unit


def test_formula_names_what_changes_the_number() -> None:
    formulas = [
        Length(field, unit).formula  # type: ignore[arg-type]
        for field in ("response", "instruction", "both")
        for unit in ("words", "characters", "tokens")
    ]
    assert len(set(formulas)) == len(formulas)
    assert Length(unit="tokens", cjk_words="run").formula == Length(unit="tokens").formula


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match="field must be one of instruction, response, both"):
        Length(field="prompt")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unit must be one of words, characters, tokens"):
        Length(unit="bytes")  # type: ignore[arg-type]
