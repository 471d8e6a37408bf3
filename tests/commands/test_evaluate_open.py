"""Open prompts in the evaluate command: judge from a yaml, answers to compare with, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import yaml

from lit_curriculum.cli import main
from lit_curriculum.commands.evaluate import pair_scores, read_judge, with_references
from lit_curriculum.evaluation.tasks.load import load_items
from lit_curriculum.methods.tapir.roles import JudgeItem, Judgement, PairJudge
from lit_curriculum.methods.tapir.teacher.judge import PromptJudge
from lit_curriculum.utils.progress import Advance
from tests.methods.baselines.tiny_scorer import save_scorer


class LongerWins(PairJudge):
    """Gives each answer its length as its score, and says nothing about one that holds a word it does not know.

    Args:
        unknown: The word.
    """

    def __init__(self, unknown: str = "\0") -> None:
        self.unknown = unknown

    @property
    def version(self) -> str:
        return "longer/1"

    def judge(self, items: Sequence[JudgeItem]) -> list[Judgement]:
        return [
            Judgement(score_teacher=len(i.reference), score_student=len(i.candidate), valid=self.unknown not in i)
            for i in items
        ]


def judge_file(folder: Path, name: str = f"{__name__}.LongerWins", **options: object) -> Path:
    path = folder / "judge.yaml"
    path.write_text(yaml.safe_dump({"class_path": name, "init_args": options}))
    return path


def prompts(folder: Path, *references: str | list[str] | None) -> Path:
    path = folder / "open.jsonl"
    rows = [{"id": f"q{k}", "prompt": f"Question {k}", "reference": r} for k, r in enumerate(references)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_wins_ties_and_losses(tmp_path: Path) -> None:
    kept = tmp_path / "out" / "answers.jsonl"
    scores = pair_scores(LongerWins(), kept)
    assert scores([("q", "aa", "a"), ("q", "aa", "bb"), ("q", "aa", "ccc")]) == [0.0, 0.5, 1.0]
    assert json.loads(kept.read_text().splitlines()[2]) == {"question": "q", "reference": "aa", "answer": "ccc"}


def test_the_judge_is_given_some_pairs_at_a_time(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []

    def show(title: str, unit: str) -> AbstractContextManager[Advance]:
        assert (title, unit) == ("Judgements", " answers")
        return nullcontext(lambda done, total: steps.append((done, total)))

    pairs = [("q", "aa", "a" * (k % 4)) for k in range(150)]
    found = pair_scores(LongerWins(), tmp_path / "answers.jsonl", show)(pairs)
    assert found == [[0.0, 0.0, 0.5, 1.0][k % 4] for k in range(150)]
    assert steps == [(64, 150), (128, 150), (150, 150)]


def test_answers_are_kept_when_the_judge_cannot_be_read(tmp_path: Path) -> None:
    kept = tmp_path / "answers.jsonl"
    with pytest.raises(ValueError, match="longer/1 gave no readable answer on 1 of 2 pairs"):
        pair_scores(LongerWins("b"), kept)([("q", "a", "c"), ("q", "a", "b")])
    assert len(kept.read_text().splitlines()) == 2


def test_open_prompts_are_judged_against_a_file_of_answers(tmp_path: Path) -> None:
    model, task = save_scorer(tmp_path / "model"), prompts(tmp_path, None, "x" * 500)
    (tmp_path / "other.jsonl").write_text('{"id": "q0", "answer": "y"}\n')
    status = main([
        "evaluate", "--model", model, "--task", f"open={task}", "--judge", str(judge_file(tmp_path)), "--reference",
        str(tmp_path / "other.jsonl"), "--out", str(tmp_path / "out"), "--max_new_tokens", "6",
    ])  # fmt: skip
    assert status == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "items.jsonl").read_text().splitlines()]
    assert [line["gold"] for line in lines] == ["y", "x" * 500]
    expected = [1.0 if len(line["answer"]) > 1 else 0.5 * len(line["answer"]) for line in lines[:1]] + [0.0]
    assert [line["score"] for line in lines] == expected
    assert len((tmp_path / "out" / "open_answers.jsonl").read_text().splitlines()) == 2


def test_the_first_of_several_references_is_compared_with(tmp_path: Path) -> None:
    items = load_items(prompts(tmp_path, ["first turn", "second turn"], None), "open")
    assert [item.gold for item in items] == ["first turn", ""]
    (tmp_path / "other.jsonl").write_text('{"id": "q1", "answer": "mine"}\n')
    assert [item.gold for item in with_references(items, tmp_path / "other.jsonl")] == ["first turn", "mine"]


def test_prompts_without_anything_to_compare_with_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = prompts(tmp_path, "a", None, None)
    args = ["evaluate", "--model", "x", "--task", f"open={task}", "--out", str(tmp_path / "out")]
    assert main([*args, "--judge", str(judge_file(tmp_path))]) == 2
    assert "item q1 and 1 more have no answer to compare with; give --reference" in capsys.readouterr().err


def test_a_prompt_judge_over_a_chat_client_is_made_from_its_yaml(tmp_path: Path) -> None:
    client = {"class_path": "lit_curriculum.OpenAIClient",
              "init_args": {"model": "m", "base_url": "http://127.0.0.1:1/v1"}}  # fmt: skip
    judge = read_judge(judge_file(tmp_path, "lit_curriculum.PromptJudge", client=client, retries=1))
    assert isinstance(judge, PromptJudge)
    assert (judge.retries, judge.client.model) == (1, "m")


def test_a_yaml_that_is_no_judge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--judge: there is no file"):
        read_judge(tmp_path / "none.yaml")
    with pytest.raises(ValueError, match=r"--judge judge.yaml describes no pair judge: .*unknwon"):
        read_judge(judge_file(tmp_path, unknwon=1))
