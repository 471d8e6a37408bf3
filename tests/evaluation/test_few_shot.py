"""Worked examples before a question, letter by letter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lit_curriculum.evaluation.tasks.few_shot import with_bbh_prompts, with_mmlu_shots
from lit_curriculum.evaluation.tasks.load import load_items

HEAD = "The following are multiple choice questions (with answers) about high tides.\n\n"


@pytest.fixture
def mmlu(tmp_path: Path) -> Path:
    rows = [
        {"id": f"{split}{n}", "subject": "high_tides", "split": split, "question": f"{split} {n}?",
         "choices": ["x", "y"], "answer": n % 2}
        for split, count in (("dev", 2), ("val", 1), ("test", 1))
        for n in range(count)
    ]  # fmt: skip
    path = tmp_path / "mmlu.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_mmlu_shows_rows_of_dev_with_their_letters(mmlu: Path) -> None:
    items = load_items(mmlu, "mmlu")
    (one,) = with_mmlu_shots(items, mmlu, 2)
    assert one.prompt == (
        f"{HEAD}dev 0?\nA. x\nB. y\nAnswer: A\n\ndev 1?\nA. x\nB. y\nAnswer: B\n\ntest 0?\nA. x\nB. y\nAnswer:"
    )
    assert with_mmlu_shots(items, mmlu, 0) == items
    with pytest.raises(ValueError, match="mmlu/high_tides has 2 rows of dev, 3 shots were asked for"):
        with_mmlu_shots(items, mmlu, 3)


def test_bbh_reasons_behind_its_published_prompt(tmp_path: Path) -> None:
    data, prompts = tmp_path / "bbh.jsonl", tmp_path / "prompts.jsonl"
    data.write_text(json.dumps({"task": "logic", "input": "not True is\nwhat?", "target": "False", "id": "1"}))
    prompts.write_text(json.dumps({"task": "logic", "prompt": "canary\n-----\nSolve.\n\nQ: 1\nA: yes.\n"}))
    items = load_items(data, "bbh")
    (one,) = with_bbh_prompts(items, prompts)
    assert one.prompt == "Solve.\n\nQ: 1\nA: yes.\n\nQ: not True is\nwhat?\nA: Let's think step by step.\n"
    assert (one.messages, one.parser, one.gold, one.meta["until"]) == ((), "answer_is", "False", ["\n\nQ:"])
    prompts.write_text(json.dumps({"task": "other", "prompt": "x"}))
    with pytest.raises(ValueError, match=r"prompts\.jsonl has no prompt for bbh/logic"):
        with_bbh_prompts(items, prompts)


def test_every_subject_and_task_of_the_real_files_has_its_examples(shared_data: Path) -> None:
    mmlu, bbh = shared_data / "eval" / "mmlu.jsonl.gz", shared_data / "eval" / "bbh.jsonl.gz"
    shown = with_mmlu_shots(load_items(mmlu, "mmlu"), mmlu, 5)
    assert all(item.prompt is not None and item.prompt.count("\nAnswer: ") == 5 for item in shown)
    asked = with_bbh_prompts(load_items(bbh, "bbh"), shared_data / "eval" / "bbh_cot_prompts.jsonl.gz")
    assert all(item.prompt is not None and "canary" not in item.prompt for item in asked)
