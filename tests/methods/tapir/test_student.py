"""The student's answers: once for each prompt, kept as they come, whatever the order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lit_curriculum.methods.tapir import judging
from lit_curriculum.methods.tapir.judging import StudentAnswers, answer_prompt
from tests.conftest import ListStore, make_example


class Echo:
    """Answers with the prompt backwards, counts its calls, and fails on demand."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.asked: list[tuple[int, ...]] = []
        self.fail_after = fail_after

    def generate(self, prompts, /, max_new_tokens, temperature=0.0, seed=0):  # type: ignore[no-untyped-def]
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            raise ConnectionError("killed")
        self.asked += [tuple(p.tolist()) for p in prompts]
        return [p[::-1][:max_new_tokens].astype(np.int32) for p in prompts]


PROMPTS = [np.arange(1 + i % 5, dtype=np.int32) + i % 9 for i in range(40)]


def answers(folder: Path | None, model: str | None = "m", **options: int) -> StudentAnswers:
    return StudentAnswers(folder, model, max_new_tokens=options.get("max_new_tokens", 3))


def test_every_prompt_is_asked_once(tmp_path: Path) -> None:
    model = Echo()
    found = answers(tmp_path).answer(model, PROMPTS)  # type: ignore[arg-type]
    assert [a.tolist() for a in found] == [p[::-1][:3].tolist() for p in PROMPTS]
    assert len(model.asked) == len(set(model.asked)) == len({tuple(p.tolist()) for p in PROMPTS})


def test_a_killed_pass_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_ANSWERS_AT_ONCE", 4)
    first = Echo(fail_after=12)
    with pytest.raises(ConnectionError):
        answers(tmp_path).answer(first, PROMPTS)  # type: ignore[arg-type]
    (file,) = tmp_path.rglob("*.jsonl")
    file.write_text(file.read_text() + '\n{"prompt": "cut o')  # killed in the middle of a write
    second, progress = Echo(), []
    kept = answers(tmp_path)
    found = kept.answer(second, PROMPTS, lambda done, total: progress.append((done, total)))  # type: ignore[arg-type]
    assert not set(first.asked) & set(second.asked)
    assert [a.tolist() for a in found] == [p[::-1][:3].tolist() for p in PROMPTS]
    assert progress[-1][0] == progress[-1][1] == len(second.asked)
    third = Echo()
    answers(tmp_path).answer(third, PROMPTS[::-1])  # type: ignore[arg-type]
    assert third.asked == []


def test_another_model_or_option_shares_nothing(tmp_path: Path) -> None:
    answers(tmp_path).answer(Echo(), PROMPTS)  # type: ignore[arg-type]
    for other in (answers(tmp_path, "n"), answers(tmp_path, max_new_tokens=2)):
        model = Echo()
        other.answer(model, PROMPTS)  # type: ignore[arg-type]
        assert model.asked


def test_a_sharded_model_leaves_no_journal(tmp_path: Path) -> None:
    answers(tmp_path, None).answer(Echo(), PROMPTS)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_prompt_ends_where_the_answer_starts() -> None:
    store = ListStore([make_example(0, "the answer", "the question"), make_example(1, "", "nothing")])
    assert bytes(answer_prompt(store, 0).astype(np.uint8)) == b"<the question>"
    with pytest.raises(ValueError, match=r"toy.jsonl:2 \(toy-1\) has no response token"):
        answer_prompt(store, 1)
