"""Judgements are kept as they come, and are those of one judge alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from lit_curriculum.methods.tapir import judging
from lit_curriculum.methods.tapir.judging import judge_items, judgement_from_state, judgement_state
from lit_curriculum.methods.tapir.roles import JudgeItem, Judgement, PairJudge, Usage

ITEMS = [JudgeItem(f"question {i}", "right", f"answer {i % 7}") for i in range(20)]


class Judge(PairJudge):
    """Scores by the item's number, counts its calls, and fails on demand."""

    def __init__(self, version: str = "j/1", fail_after: int | None = None) -> None:
        self._version, self.fail_after = version, fail_after
        self.asked: list[JudgeItem] = []

    @property
    def version(self) -> str:
        return self._version

    def judge(self, items: Sequence[JudgeItem]) -> list[Judgement]:
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            raise ConnectionError("killed")
        self.asked += items
        numbers = [int(i.instruction.split()[1]) for i in items]
        return [
            Judgement(score_teacher=10.0, score_student=math.nan if n == 3 else n / 2, valid=n != 3, raw=(f"é {n}",),
                      usage=Usage(calls=2, prompt_tokens=n, completion_tokens=1))
            for n in numbers
        ]  # fmt: skip


def test_a_killed_judging_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_JUDGEMENTS_AT_ONCE", 4)
    path, first, second = tmp_path / "j.jsonl", Judge(fail_after=8), Judge()
    with pytest.raises(ConnectionError):
        judge_items(first, ITEMS, path)
    path.write_text(path.read_text() + '\n{"key": "cut o')  # killed in the middle of a write
    progress: list[tuple[int, int]] = []
    found = judge_items(second, ITEMS, path, lambda done, total: progress.append((done, total)))
    assert not set(first.asked) & set(second.asked)
    assert set(first.asked) | set(second.asked) == set(ITEMS)
    assert repr(found) == repr(Judge().judge(ITEMS))  # NaN is not equal to NaN
    assert progress == [(4, 12), (8, 12), (12, 12)]
    third = Judge()
    assert repr(judge_items(third, ITEMS, path)) == repr(found)
    assert third.asked == []


def test_another_judge_or_answer_shares_nothing(tmp_path: Path) -> None:
    judge_items(Judge(), ITEMS, tmp_path / "j.jsonl")
    other = Judge("j/2")
    judge_items(other, ITEMS, tmp_path / "j.jsonl")
    assert other.asked == ITEMS
    same = Judge()
    judge_items(same, [*ITEMS[:3], JudgeItem("question 4", "right", "new"), ITEMS[0]], tmp_path / "j.jsonl")
    assert same.asked == [JudgeItem("question 4", "right", "new")]


def test_a_judgement_survives_the_round_trip() -> None:
    (judgement,) = Judge().judge(ITEMS[3:4])
    assert repr(judgement_from_state(judgement_state(judgement))) == repr(judgement)
