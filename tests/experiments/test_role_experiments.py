"""The experiments on TAPIR's roles: what they read, choose and count."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.judge_agreement.run import MAX_CHARACTERS, choose, preferred, share
from experiments.task_classifier.run import confusion_table, measure, read


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"label": 2}, 2),
        ({"label": None, "annotators": [1, 1, 2]}, 1),
        ({"annotators": [0, 1, 2]}, 0),
        ({"annotators": [0, 0, 2]}, 0),
    ],
)
def test_people_prefer_what_two_of_three_prefer(row: dict[str, object], answer: int) -> None:
    assert preferred(row) == answer


def test_pairs_come_from_both_sources_with_both_answers_preferred(shared_data: Path) -> None:
    pairs = choose(shared_data / "eval" / "preference_pairs.jsonl.gz", 40)
    assert len(pairs) == 40
    assert all(sum(len(part) for part in item) <= MAX_CHARACTERS for item, _ in pairs)
    assert 5 < sum(first for _, first in pairs) < 35
    assert pairs == choose(shared_data / "eval" / "preference_pairs.jsonl.gz", 40)


def test_texts_of_the_classifier_hold_instruction_and_input_but_no_answer(shared_data: Path) -> None:
    texts, labels = read(shared_data / "train" / "dolly_3k.jsonl.gz")
    assert len(texts) == len(labels) > 2900
    assert len(set(labels)) == 8
    assert texts[0] == "How do I start running?"


def test_counts() -> None:
    assert share("x", 0, 0) == []
    assert share("x", 3, 4)[0]["value"] == 0.75
    truth, found = ["a", "a", "b", "b"], ["a", "b", "b", "b"]
    assert measure("m", truth, found)[0]["value"] == 0.75
    assert confusion_table(truth, found).splitlines()[2:] == ["| a | 1 | 1 |", "| b | 0 | 2 |"]
