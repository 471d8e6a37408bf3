"""Expected scores from probabilities: the swap of orders, the value by hand, and tokenizers that cannot."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lit_curriculum.chat.local_client import LocalClient
from lit_curriculum.methods.tapir.roles import JudgeItem
from lit_curriculum.methods.tapir.teacher.judge import LikelihoodJudge, parse_scores

PROMPT = "toy/1\nS\n---\nI {instruction} A {answer_a} B {answer_b}"


class Characters:
    """A tokenizer whose tokens are characters; it may write a digit with the space before it."""

    def __init__(self, glued: bool = False) -> None:
        self.glued = glued

    def apply_chat_template(self, turns: list[dict[str, str]], **_: Any) -> str:
        return " | ".join(turn["content"] for turn in turns) + " > "

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        ids = [ord(c) for c in text]
        return {"input_ids": [*ids[:-2], 200] if self.glued else ids}


class ByLength:
    """Its most likely digit is the length of the answer in question; sees the whole text through its cache."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.num_read = 0

    def __call__(self, input_ids: torch.Tensor, past_key_values: Any, use_cache: bool) -> Any:
        self.num_read += input_ids.shape[1]
        seen = (past_key_values or "") + "".join(chr(i) for i in input_ids[0].tolist())
        place = seen.rindex("Score ") + len("Score ")
        a, b = seen.split(" A ")[1].split(" > ")[0].split(" B ")
        logits = torch.full((1, input_ids.shape[1], 256), 3.0)
        logits[0, -1, ord("0") + len({"A": a, "B": b}[seen[place]])] = 6.0
        return SimpleNamespace(logits=logits, past_key_values=seen)


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LikelihoodJudge, ByLength]:
    (tmp_path / "toy.txt").write_text(PROMPT)
    model = ByLength()
    monkeypatch.setattr(LocalClient, "load", lambda self: (model, Characters()))
    return LikelihoodJudge(LocalClient("toy"), prompt=str(tmp_path / "toy.txt")), model


def test_scores_are_expected_values_of_the_right_answer_in_both_orders(judge: tuple[LikelihoodJudge, ByLength]) -> None:
    (found,) = judge[0].judge([JudgeItem("q", "wwwwwww", "ww")])
    peak, rest = torch.tensor([6.0] + [3.0] * 8).softmax(0)[:2].tolist()
    expected = [sum(d * (peak if d == length else rest) for d in range(1, 10)) for length in (7, 2)]
    assert [found.score_teacher, found.score_student] == pytest.approx(expected)
    first, second = (parse_scores(text) for text in found.raw)
    assert first is not None
    assert second == pytest.approx(first[::-1], abs=1e-3)
    assert found.valid
    assert found.usage.calls == 2
    assert found.usage.prompt_tokens == judge[1].num_read, (
        "nothing is read twice: the second score continues from the first"
    )


def test_swapping_the_answers_swaps_the_scores(judge: tuple[LikelihoodJudge, ByLength]) -> None:
    there, back = judge[0].judge([JudgeItem("q", "wwwww", "www"), JudgeItem("q", "www", "wwwww")])
    assert (there.score_teacher, there.score_student) == pytest.approx((back.score_student, back.score_teacher))


def test_a_tokenizer_that_glues_digits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalClient, "load", lambda self: (ByLength(), Characters(glued=True)))
    with pytest.raises(ValueError, match="the tokenizer of toy does not write every digit as one token"):
        LikelihoodJudge(LocalClient("toy")).judge([JudgeItem("q", "a", "b")])
