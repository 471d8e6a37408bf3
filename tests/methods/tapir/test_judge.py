"""The pair judge: strict reading, both orders, retries, and setting aside."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lit_curriculum.chat.client import ChatRequest
from lit_curriculum.methods.tapir.roles import JudgeItem
from lit_curriculum.methods.tapir.teacher.judge import PromptJudge, parse_scores
from lit_curriculum.methods.tapir.teacher.prompting import load_prompt
from tests.chat.scripted_client import ScriptedClient

ITEMS = [JudgeItem("Say {it}.", "the longer answer", "short"), JudgeItem("Again", "x", "yyyy")]


def sections(request: ChatRequest) -> tuple[str, str]:
    text = request.messages[-1].content
    first = text.split("[Answer A]\n")[1].split("\n\n[Answer B]")[0]
    return first, text.split("[Answer B]\n")[1].split("\n\n[End]")[0]


def by_length(bonus_first: float = 0.0) -> ScriptedClient:
    def script(request: ChatRequest) -> str:
        a, b = (min(9.0, float(len(text))) for text in sections(request))
        return f"Because.\nScore A: {min(10.0, a + bonus_first):g}\nScore B: {b:g}"

    return ScriptedClient(script)


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("fine\nScore A: 7\nScore B: 3", (7.0, 3.0)),
        ("Score B: 3\n\n**Score A:** 7.5/10\n", (7.5, 3.0)),
        ("Score A: 7", None),
        ("Score A: 7\nScore B: 11", None),
        ("Score A: 0\nScore B: 5", None),
        ("Score A: 7\nScore B: 3\nScore A: 4", None),
        ("I give Score A: 7 and\nScore B: 3", None),
        ("Score A: N\nScore B: N", None),
        ("", None),
    ],
)
def test_only_one_line_for_each_answer_is_read(text: str, scores: tuple[float, float] | None) -> None:
    assert parse_scores(text) == scores


def test_both_orders_are_averaged_so_a_bias_to_the_first_place_cancels() -> None:
    judged = PromptJudge(by_length(bonus_first=1.0)).judge(ITEMS)
    assert [(j.score_teacher, j.score_student) for j in judged] == [(9.5, 5.5), (1.5, 4.5)]
    assert all(j.valid and len(j.raw) == 2 and j.usage.calls == 2 for j in judged)


def test_swapping_the_answers_swaps_the_scores() -> None:
    forward = PromptJudge(by_length(0.5)).judge(ITEMS)
    backward = PromptJudge(by_length(0.5)).judge([JudgeItem(i, c, r) for i, r, c in ITEMS])
    assert [(f.score_teacher, f.score_student) for f in forward] == [
        (b.score_student, b.score_teacher) for b in backward
    ]


def test_unreadable_judgements_are_retried_with_other_seeds_then_set_aside() -> None:
    asked: list[tuple[int, float]] = []

    def script(request: ChatRequest) -> str:
        asked.append((request.seed, request.temperature))
        hopeless = "Again" in request.messages[-1].content
        return "no idea" if hopeless or request.seed == 0 else "Score A: 4\nScore B: 6"

    judge = PromptJudge(ScriptedClient(script))
    good, bad = judge.judge(ITEMS)
    assert (good.score_teacher, good.score_student, good.valid, good.usage.calls) == (5.0, 5.0, True, 4)
    assert math.isnan(bad.score_teacher)
    assert math.isnan(bad.score_student)
    assert not bad.valid
    assert bad.raw == ("no idea", "no idea")
    assert bad.usage.calls == 6
    assert set(asked) == {(0, 0.0), (1, 0.7), (2, 0.7)}


def test_braces_of_the_data_are_left_alone() -> None:
    seen: list[str] = []

    def script(request: ChatRequest) -> str:
        seen.append(request.messages[-1].content)
        return "Score A: 4\nScore B: 6"

    PromptJudge(ScriptedClient(script)).judge([JudgeItem("print {answer_b}", "{x}", "y")])
    assert "print {answer_b}" in seen[0]
    assert PromptJudge(by_length()).version == "judge/1 orders=2 scripted"


def test_options_and_prompts_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"PromptJudge.retries must be at least 0"):
        PromptJudge(by_length(), retries=-1)
    with pytest.raises(ValueError, match="neither a prompt of the package nor a file"):
        load_prompt("nowhere", set())
    path = tmp_path / "own.txt"
    path.write_text("own/1\nsystem {a}\n")
    with pytest.raises(ValueError, match="a prompt is a version on line 1"):
        load_prompt(str(path), {"a"})
    path.write_text("own/1\nsystem {a}\n---\nuser {b}\n")
    with pytest.raises(ValueError, match=r"has the places \['a', 'b'\] and needs \['a'\]"):
        load_prompt(str(path), {"a"})
    assert load_prompt(str(path), {"a", "b"}).version == "own/1"
