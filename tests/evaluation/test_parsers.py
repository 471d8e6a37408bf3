"""Every rule of reading an answer, with answers that it takes and answers that it refuses."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from lit_curriculum.evaluation.math_answer import equivalent, extract_boxed, final_math_answer, verified_equivalent
from lit_curriculum.evaluation.parsers import (
    PARSERS,
    answer_is,
    cloze,
    is_right,
    judgement,
    letter_set,
    number,
    reads_letters,
    single_choice,
)


@pytest.mark.parametrize(
    ("text", "parsed", "letters"),
    [
        ("B", "B", False),
        (" C \n", "C", False),
        ("Ｄ", "D", False),
        ("E", None, False),
        ("b", None, False),
        ("", None, True),
        ("A.", None, True),
        ("选B", None, True),
    ],
)
def test_single_choice_reads_one_character_only(text: str, parsed: str | None, letters: bool) -> None:
    assert single_choice(text) == parsed
    assert reads_letters(text) == letters


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("正确", "T"),
        ("这个说法是对的", "T"),
        ("√", "T"),
        ("True", "T"),
        ("T", "T"),
        ("错误", "F"),
        ("×", "F"),
        ("这是不正确的", "F"),
        ("不对", "F"),
        ("false.", "F"),
        ("F", "F"),
        ("不正确", "F"),
        ("对也错", None),
        ("也许", None),
        ("", None),
        ("truly", None),
    ],
)
def test_true_false_needs_exactly_one_side(text: str, parsed: str | None) -> None:
    assert judgement(text) == parsed


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("春眠不觉晓，处处闻啼鸟。", "春眠不觉晓"),
        ("答案 江山", "答案"),
        ("1. 李白。", "李白"),
        ("Li Bai", None),
        ("。，", None),
    ],
)
def test_cloze_takes_the_first_chinese_chunk(text: str, parsed: str | None) -> None:
    assert cloze(text) == parsed


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("ABD", "ABD"), ("D、B、A", "ABD"), ("选 A\n\nＣ和B\n", "BC"), ("A\n没有", None), ("", None), ("\n \n", None)],
)
def test_letter_set_reads_the_last_line(text: str, parsed: str | None) -> None:
    assert letter_set(text) == parsed


def test_letter_sets_compare_as_sets() -> None:
    assert is_right("letter_set", "所以\nC A", "AC")
    assert not is_right("letter_set", "ABC", "AC")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("so 3 + 4 = 7\n#### 7", "7"),
        ("A: 90,000", "90000"),
        ("It costs $1,250.50.", "1250.5"),
        ("A: -3", "-3"),
        ("3 apples\nAnswer: 12 apples, of 20", "20"),
        ("Answer: none, 4 before", "4"),
        ("18.00", "18"),
        ("nothing", None),
    ],
)
def test_number_is_the_last_behind_the_last_mark(text: str, parsed: str | None) -> None:
    assert number(text) == parsed


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("Thus. So the answer is (B).", "(B)"),
        ("the answer is x\nthe answer is True.\nMore", "True"),
        ("答案是：对。", "对"),
        ("  plain ", "plain"),
        ("", None),
        ("the answer is ", None),
    ],
)
def test_answer_is(text: str, parsed: str | None) -> None:
    assert answer_is(text) == parsed


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("the answer \\boxed{1} then \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\fbox{x^{2}}", "x^{2}"),
        ("\\boxed{1", None),
        ("no box", None),
    ],
)
def test_the_last_balanced_box(text: str, parsed: str | None) -> None:
    assert extract_boxed(text) == parsed


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("过程 \\boxed{1}\n答案：\\boxed{x=2}", "2"),
        ("答案是 $y$ 或 $z = 5$。", "5"),
        ("答案：\\frac{3}{4}", "\\frac{3}{4}"),
        ("答案 3/4", "3/4"),
        ("答案：1, 2, 3", "1, 2, 3"),
        ("答案是2\\sqrt{3}", "2\\sqrt{3}"),
        ("答案：(1, x)", "(1, x)"),
        ("答案：n = 7 个。", "7 个"),
        ("答案是 12 元", "12"),
        ("没有", None),
        ("first \\boxed{1} 答案 9", "9"),
    ],
)
def test_doits_order_of_looking_for_a_final_answer(text: str, parsed: str | None) -> None:
    assert final_math_answer(text) == parsed


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("0.5", "\\frac12"),
        ("\\dfrac{3}{4}", "3/4"),
        ("90^\\circ", "90"),
        ("50\\%", "50"),
        ("1,000", "1000"),
        ("x=5", "5"),
        ("1, 2, 3", "3,1,2"),
        ("\\frac{-1}{3}", "-\\frac{1}{3}"),
        ("\\sqrt2", "\\sqrt{2}"),
        ("12 cm", "12"),
        ("7 个", "7"),
        ("\\left(1,2\\right)", "(1, 2)"),
        (".25", "0.25"),
        ("5\\text{ inches}", "5"),
        ("\\frac{1}{-3}", "-\\frac13"),
    ],
)
def test_equivalent_answers(first: str, second: str) -> None:
    assert equivalent(first, second)
    assert equivalent(second, first)


@pytest.mark.parametrize(
    ("first", "second"), [("(1,2)", "(2,1)"), ("\\frac13", "\\frac31"), ("12", "21"), ("x", "X"), ("", ""), ("3", "-3")]
)
def test_different_answers(first: str, second: str) -> None:
    assert not equivalent(first, second)


def test_two_missing_answers_are_not_equal() -> None:
    assert not equivalent(None, None)
    assert not is_right("math", "no box", "")


def test_expressions_are_compared_by_math_verify() -> None:
    pytest.importorskip("math_verify")
    assert verified_equivalent("(x+1)^2", "x^2+2x+1")
    assert not equivalent("(x+1)^2", "x^2+2x+1")
    assert not verified_equivalent("x+1", "x-1")


def test_verification_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_curriculum.evaluation.math_answer.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the package math-verify"):
        verified_equivalent("1", "1")


def test_unknown_parser() -> None:
    with pytest.raises(ValueError, match="no parser 'guess'; known are whole"):
        is_right("guess", "1", "1")


@pytest.mark.parametrize("parser", list(PARSERS))
def test_no_answer_is_never_right(parser: str) -> None:
    assert not is_right(parser, "", "")


def test_gsm8k_agrees_with_the_authors_on_every_solution(shared_data: Path) -> None:
    checked = 0
    with gzip.open(shared_data / "reference" / "gsm8k_model_solutions.jsonl.gz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            gold = row["ground_truth"].rsplit("A:", 1)[1]
            for solution in row["solutions"].values():
                right = is_right("number", solution["solution"], gold)
                assert right == solution["is_correct"], (row["id"], solution["solution"][-60:], gold)
                checked += 1
    assert checked == 2632


def test_every_gold_answer_of_math_is_found_and_equals_itself(shared_data: Path) -> None:
    with gzip.open(shared_data / "eval" / "math500.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert sum(is_right("math", row["solution"], row["answer"]) for row in rows) >= 499
