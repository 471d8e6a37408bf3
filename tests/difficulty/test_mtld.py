"""MTLD: hand-made vectors, a slow reference, and three packages' values."""

from __future__ import annotations

import gzip
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lit_curriculum.difficulty.mtld import MTLD, VARIANTS, Variant, mtld, mtld_factors
from lit_curriculum.difficulty.words import WordSplitter
from tests.conftest import ListStore, make_example

# Column of the reference rows -> its key there and our variant.
PACKAGES: dict[str, tuple[str, Variant]] = {
    "lexicalrichness_0.5.1": ("mtld_0.72", "lexicalrichness"),
    "lexical_diversity_0.1.1": ("mtld", "lexical_diversity"),
    "taaled_0.32": ("mtld", "taaled"),
}
CAT = "the cat sat on the mat and the dog sat on the log while the bird sang in the tree"
THREE_QUARTERS = "a b c a"  # 3 types over 4 words


def _read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def reference_rows(shared_data: Path) -> list[dict[str, Any]]:
    return _read(shared_data / "reference" / "lexical_diversity_values.jsonl.gz")


def _reference_mtld(words: list[str], threshold: float, tie_closes: bool) -> float:
    """Every stretch's ratio recomputed from its words, whole number of factors first, then the rest."""
    scores = []
    for text in (words, list(reversed(words))):
        factors, start = 0.0, 0
        for end in range(1, len(text) + 1):
            ratio = len(set(text[start:end])) / (end - start)
            if ratio < threshold or (tie_closes and ratio == threshold):
                factors, start = factors + 1, end
        if start < len(text):
            factors += (1 - len(set(text[start:])) / (len(text) - start)) / (1 - threshold)
        scores.append(len(text) / factors if factors else len(text))
    return sum(scores) / 2


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("of the people by the people for the people", 9.0),
        ("one two three four five six seven eight nine ten", 10.0),
        ("a a a a", 2.0),
        (CAT, 15.8333333333333),
    ],
)
def test_hand_made_vectors(text: str, score: float) -> None:
    assert mtld(text.split()) == pytest.approx(score, abs=1e-9)
    assert MTLD().score_text(text.upper() + "!") == pytest.approx(score, abs=1e-9)


def test_factors_by_hand() -> None:
    words = CAT.split()
    forward, backward = mtld_factors(words), mtld_factors(words[::-1])
    assert len(forward.lengths) + (1 - forward.rest_ttr) / 0.28 == pytest.approx(1.7142857, abs=1e-7)
    assert len(backward.lengths) + (1 - backward.rest_ttr) / 0.28 == pytest.approx(1.0)
    assert sum(forward.lengths) + forward.rest == len(words)


def test_equals_slow_twin() -> None:
    generator = np.random.default_rng(0)
    variants: tuple[Variant, ...] = ("paper", "lexicalrichness")
    for size, variant, threshold in itertools.product(range(1, 200, 7), variants, (0.5, 0.72, 0.75)):
        words = [f"w{k}" for k in generator.zipf(1.4, size).clip(max=60)]
        expected = _reference_mtld(words, threshold, variant == "lexicalrichness")
        assert mtld(words, threshold, variant) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("package", PACKAGES)
def test_equals_packages_on_reference_rows(package: str, reference_rows: list[dict[str, Any]]) -> None:
    column, variant = PACKAGES[package]
    rows = [row for row in reference_rows if row.get(package)]
    assert len(rows) >= 30
    for row in rows:
        assert mtld(row["tokens"], variant=variant) == pytest.approx(row[package][column], abs=1e-9), row["id"]


def test_equals_installed_lexicalrichness() -> None:
    package = pytest.importorskip("lexicalrichness")
    generator = np.random.default_rng(1)
    split = MTLD(words="letters", variant="lexicalrichness")
    for size in range(1, 400, 13):
        text = " ".join("".join(chr(97 + int(d)) for d in str(k)) for k in generator.zipf(1.3, size).clip(max=500))
        assert split.score_text(text) == pytest.approx(package.LexicalRichness(text).mtld(threshold=0.72), abs=1e-9)


def test_tokens_of_reference_rows_follow_ascii_letters(reference_rows: list[dict[str, Any]], shared_data: Path) -> None:
    tokens = {row["id"]: row["tokens"] for row in reference_rows}
    split = WordSplitter("ascii_letters")
    seen = 0
    for file in ("alpaca_18k", "lima_1k", "dolly_3k"):
        for row in _read(shared_data / "train" / f"{file}.jsonl.gz"):
            if row["id"] in tokens:
                assert split(row["output"]) == tokens[row["id"]]
                seen += 1
    assert seen >= 30


def test_tie_rule_moves_a_text_that_meets_the_threshold() -> None:
    words = THREE_QUARTERS.split() * 3
    assert mtld_factors(words, 0.75, "lexicalrichness").lengths == [4, 4, 4]
    assert mtld_factors(words, 0.75).lengths == [5, 5]


def test_partial_factors_and_texts_without_factors() -> None:
    words = ["a", "a", "b", "c", "d", "e", "f", "f"]
    assert mtld_factors(words) == ([2], 6, pytest.approx(5 / 6))
    assert mtld_factors(words[::-1]) == ([2], 6, pytest.approx(5 / 6))
    assert mtld(words) == pytest.approx(8 / (1 + (1 / 6) / 0.28))
    assert {mtld(["a", "b"], variant=variant) for variant in VARIANTS} == {2.0}
    # No factor of ten words closes, so both directions are one unfinished factor of ratio 6 / 8.
    assert mtld(words, variant="taaled") == pytest.approx(8 * 0.28 / 0.25)
    assert all(math.isnan(mtld([], variant=variant)) for variant in VARIANTS)


def test_last_word_and_shortest_factor() -> None:
    assert mtld_factors(["a"] * 2) == ([2], 0, 1.0)
    assert mtld_factors(["a"] * 10, variant="taaled") == ([], 10, 0.1)
    assert mtld_factors(["a"] * 25, variant="taaled").lengths == [10, 10]


def test_a_text_without_words_is_unscorable() -> None:
    store = ListStore([make_example(0, ""), make_example(1, "two words"), make_example(2, "one two two three")])
    np.testing.assert_array_equal(MTLD().score(store)[:2], [np.nan, 2.0])


def test_formula_holds_every_option() -> None:
    changed: list[dict[str, Any]] = [
        {},
        {"field": "both"},
        {"words": "letters"},
        {"cjk_words": "run"},
        {"threshold": 0.7200001},
        {"variant": "taaled"},
    ]
    assert len({MTLD(**options).formula for options in changed}) == len(changed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"field": "prompt"}, "field must be one of"),
        ({"variant": "koRpus"}, "variant must be one of paper, lexicalrichness, lexical_diversity, taaled"),
        ({"threshold": 1.0}, r"threshold must be in \(0, 1\), got 1.0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MTLD(**options)


def test_real_responses_are_scored_unless_they_have_no_word(shared_data: Path) -> None:
    responses = [row["output"] for row in _read(shared_data / "train" / "alpaca_18k.jsonl.gz")]
    metric = MTLD()
    scores = np.array([metric.score_text(text) for text in responses])
    assert len(scores) == 17_900
    assert np.isnan(scores).sum() == sum(not WordSplitter()(text) for text in responses)


def test_chinese_is_counted_by_characters_unless_asked_otherwise() -> None:
    text = "细胞的能量工厂是线粒体，线粒体是细胞的能量工厂。"
    store = ListStore([make_example(0, response=text)])
    words = [c for c in text if c not in "，。"]
    assert MTLD().score(store)[0] == pytest.approx(mtld(words))
    assert "words-character" in MTLD().formula
    assert WordSplitter(cjk_words="run")(text) == ["细胞的能量工厂是线粒体", "线粒体是细胞的能量工厂"]
