"""Evaluating in parts: each item once, and the merged table is that of one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lit_curriculum.cli import main
from lit_curriculum.commands.evaluate import parse_shard
from tests.methods.baselines.tiny_scorer import save_scorer


@pytest.fixture
def place(tmp_path: Path) -> Path:
    save_scorer(tmp_path / "model")
    rows = [{"id": k, "task": f"sky{k % 2}", "prompt": "The sky" * (1 + k % 3), "choices": [" blue", " red"],
             "gold_index": k // 2 % 2} for k in range(7)]  # fmt: skip
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "sums").mkdir()
    for k in range(3):
        (tmp_path / "sums" / f"{k}.jsonl").write_text(json.dumps({"question": f"{k}?", "answer": "#### 4", "id": k}))
    return tmp_path


def evaluate(place: Path, out: str, *extra: str) -> dict[str, object]:
    args = ["evaluate", "--model", str(place / "model"), "--out", str(place / out), "--max_new_tokens", "4"]
    tasks = ["--task", f"items={place / 'own.jsonl'}", "--task", f"gsm8k={place / 'sums'}"]
    assert main([*args, *tasks, *extra]) == 0
    found: dict[str, object] = json.loads((place / out / "results.json").read_text())
    return found


def test_parts_merge_to_what_one_process_says(place: Path) -> None:
    whole = evaluate(place, "whole")
    for number in (1, 2, 3):
        evaluate(place, f"part{number}", "--shard", f"{number}/3")
    parts = [str(place / f"part{n}") for n in (3, 1, 2)]
    assert main(["evaluate", "--merge", *parts, "--out", str(place / "merged")]) == 0
    merged = json.loads((place / "merged" / "results.json").read_text())
    assert merged["shard"] is None
    for one, other in zip(whole["rows"], merged["rows"], strict=True):  # type: ignore[call-overload]
        assert one["nll"] == pytest.approx(other["nll"], rel=1e-6)
        assert {**one, "nll": 0} == {**other, "nll": 0}

    def lines(out: str) -> list[tuple[object, ...]]:
        read = [json.loads(line) for line in (place / out / "items.jsonl").read_text().splitlines()]
        return [(line["place"], line["id"], line["score"], line["answer"]) for line in read]

    assert lines("merged") == lines("whole")
    assert [line[0] for line in lines("part2")] == [1, 4, 7]


def test_shards_that_do_not_belong_together_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(place, "one", "--shard", "1/2")
    evaluate(place, "two", "--shard", "2/2", "--seed", "1")
    evaluate(place, "whole")

    def said(*parts: str) -> str:
        assert main(["evaluate", "--merge", *(str(place / p) for p in parts), "--out", str(place / "merged")]) == 2
        return capsys.readouterr().err

    assert "differ in options; merge shards of one evaluation" in said("one", "two")
    assert "shards [1, 1] are not each of [1, 2] once" in said("one", "one")
    assert "is of a whole evaluation and not of a shard" in said("one", "whole")
    assert "holds no results.json" in said("one", "nowhere")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b"])
def test_a_shard_is_one_of_several(text: str) -> None:
    with pytest.raises(ValueError, match=f"--shard {text} must be I/N"):
        parse_shard(text)
