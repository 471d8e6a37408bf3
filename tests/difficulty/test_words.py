"""Words: conventions, scripts, marks."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from lit_curriculum.difficulty.words import WordSplitter, field_text
from lit_curriculum.utils.options import check_choice
from tests.conftest import make_example


@pytest.mark.parametrize(
    ("convention", "text", "words"),
    [
        ("words", "Don't STOP, 'now'!", ["don't", "stop", "now"]),
        ("words", "well-known GPT-4, 3.14 snake_case", ["well", "known", "gpt", "4", "3", "14", "snake", "case"]),
        ("letters", "well-known GPT-4 and gpt4all", ["well", "known", "gpt", "and", "gpt", "all"]),
        ("ascii_letters", "naïve café 5", ["na", "ve", "caf"]),
        ("ascii_letters", "don't don’t 東京", ["don't", "don", "t"]),
        ("words", "naïve café ½", ["naïve", "café", "½"]),
        ("letters", "naïve café 5", ["naïve", "café"]),
        ("words", "", []),
        ("words", " \n…—!? ", []),
    ],
)
def test_conventions(convention: Any, text: str, words: list[str]) -> None:
    assert WordSplitter(convention)(text) == words


def test_ascii_and_unicode_paths_agree() -> None:
    # The same words, once in pure ASCII and once beside one accent, which takes the other path.
    text = "It's 5 o'clock; rock'n'roll 'tis e-mail x_y 'a' b'"
    for convention in ("words", "letters"):
        split = WordSplitter(convention)
        assert split(text + " é")[:-1] == split(text)


def test_curly_apostrophes_and_composed_forms_are_one_word() -> None:
    split = WordSplitter()
    assert split("don’t") == split("don't") == ["don't"]
    assert split(unicodedata.normalize("NFD", "Café")) == split("café") == ["café"]


def test_combining_marks_stay_in_their_word() -> None:
    assert WordSplitter()("हिन्दी में किताब।") == ["हिन्दी", "में", "किताब"]


def test_unspaced_scripts() -> None:
    text = "東京タワー is สวัสดี 한국어 책"
    assert WordSplitter()(text) == ["東", "京", "タ", "ワ", "ー", "is", "ส", "วั", "ส", "ดี", "한국어", "책"]
    assert WordSplitter(cjk_words="run")(text) == ["東京タワー", "is", "สวัสดี", "한국어", "책"]


def test_names_tell_conventions_apart() -> None:
    names = {WordSplitter(c, u).name for c in ("words", "letters") for u in ("character", "run")}
    assert len(names) == 4
    assert WordSplitter("ascii_letters").name == "ascii_letters"


def test_field_text() -> None:
    example = make_example(0, "an answer", "a question")
    assert field_text(example, "response") == "an answer"
    assert field_text(example, "instruction") == "a question"
    assert field_text(example, "both") == "a question\nan answer"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"convention must be one of words"):
        WordSplitter("tokens")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cjk_words must be one of character, run"):
        WordSplitter(cjk_words="word")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="x must be one of a, b, got 'c'"):
        check_choice("x", "c", ("a", "b"))
