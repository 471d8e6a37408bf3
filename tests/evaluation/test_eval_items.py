"""Items, their chance levels, and readers of evaluation files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from lit_curriculum.evaluation.items import EvalItem, set_chance
from lit_curriculum.evaluation.tasks.doit import doit
from lit_curriculum.evaluation.tasks.load import load_items
from lit_curriculum.types import Message


def row(kind: str, question: str, label: str, form: int = 0, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": label}]
    return {"messages": messages, "idx": 1, "type": kind, "question_format": form, **more}


FOUR = "问题\nA. 一\nB. 二\nC. 三\nD. 四"
THREE = "问题\nA. 一\nB. 二\nC. 三"


@pytest.mark.parametrize(
    ("record", "parser", "gold", "chance"),
    [
        (row("ethics", FOUR, "A"), "letter_set", "A", 1 / 4),
        (row("ethics", FOUR, "AC"), "letter_set", "AC", 1 / 6),
        (row("ethics", FOUR, "C、A、B"), "letter_set", "ABC", 1 / 4),
        (row("ethics", FOUR, "ABCD"), "letter_set", "ABCD", 1.0),
        (row("history", FOUR, "B"), "choice", "B", 0.25),
        (row("history", "判断", "正确"), "true_false", "T", 0.5),
        (row("history", "判断", "×"), "true_false", "F", 0.5),
        (row("understanding", THREE, "C"), "choice", "C", 1 / 3),
        (row("understanding", FOUR, "D"), "choice", "D", 0.25),
        (row("chinese", FOUR, "A"), "choice", "A", 0.25),
        (row("chinese", "填空", "江山"), "cloze", "江山", 0.0),
        (row("math", "算", "所以 3", answer="3"), "doit_math", "3", 0.0),
        (row("biology", FOUR, "D"), "choice", "D", 0.25),
    ],
)
def test_rule_gold_and_chance_of_every_ability_of_doit(
    record: dict[str, Any], parser: str, gold: str, chance: float
) -> None:
    item = doit(record, "test.json:1")
    assert (item.parser, item.gold, item.chance) == (parser, gold, pytest.approx(chance, abs=0))
    assert item.messages == (Message(role="user", content=record["messages"][0]["content"]),)
    assert item.meta.get("logit_choices") == (["A", "B", "C", "D"] if parser == "choice" else None)


def test_ranked_rows_have_the_gold_candidate_first() -> None:
    item = doit(row("role_play", "演", "金", form=1, choices=["金", "银", "铜"]), "f:1")
    assert (item.kind, item.gold_index, item.chance, len(item.messages)) == ("ranked", 0, 1 / 3, 1)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (row("ethics", FOUR, "无"), "names 0 options; expected 1 to 4"),
        (row("biology", FOUR, "也许"), "fits no rule of DoIT"),
        (row("math", "算", "3"), "the field answer is missing"),
        (
            {"messages": [{"role": "user", "content": "a"}], "type": "math", "question_format": 0},
            "needs a question and",
        ),
        ({"messages": [{"role": "bot", "content": "a"}], "type": "math"}, "needs a role"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_line(record: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"test.json:7: .*{message}"):
        doit(record, "test.json:7")


@pytest.mark.parametrize(("size", "chance"), [(1, 1 / 4), (2, 1 / 6), (3, 1 / 4), (4, 1.0)])
def test_chance_of_a_set(size: int, chance: float) -> None:
    assert set_chance(size) == pytest.approx(chance)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
    return path


def test_items_of_a_user(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "a", "task": "t", "prompt": "2 + 2 =", "gold": "4", "parser": "number", "note": "kept"},
        {"prompt": "The sky is", "choices": [" blue", " red"], "gold_index": 0},
        {"messages": [{"role": "user", "content": "Hi"}], "choices": ["Hello.", "Bye.", "?"], "gold_index": 0},
    ]
    path = write(tmp_path / "mine.jsonl", rows)
    first, second, third = load_items(path)
    assert (first.kind, first.parser, first.meta) == ("exact", "number", {"note": "kept"})
    assert (second.kind, second.chance, second.gold, second.task) == ("choice", 0.5, " blue", "mine.jsonl")
    assert (third.kind, third.chance, third.id) == ("ranked", 1 / 3, "mine.jsonl:3")
    assert len(load_items(path, limit=2)) == 2
    (tmp_path / "list.json").write_text(json.dumps(rows), encoding="utf-8")
    assert [i.kind for i in load_items(tmp_path / "list.json")] == ["exact", "choice", "ranked"]


@pytest.mark.parametrize(
    ("content", "format", "message"),
    [
        (
            '{"id": 1, "prompt": "a", "gold": "b"}\n{"id": 1, "prompt": "a", "gold": "b"}\n',
            "items",
            "used at .*:1 already",
        ),
        ('{"prompt": "a"}\n', "items", "x.jsonl:1: the field gold is missing"),
        ('{"prompt": "a", "choices": ["b"], "gold_index": 0}\n', "items", "has 1 choices; it needs at least 2"),
        ('{"prompt": "a", "choices": ["b", "c"], "gold_index": 2}\n', "items", "gold_index 2 is not a place"),
        ('{"gold": "b"}\n', "items", "needs exactly one of messages and prompt"),
        ('{"prompt": "a", "gold": "b", "chance": 2}\n', "items", "which is no probability"),
        ('{"prompt": "a", "gold": "b", "kind": "magic"}\n', "items", "has kind 'magic'"),
        ("[1, 2\n", "items", "x.jsonl:1: the record is not JSON"),
        ("3\n", "items", "is a JSON int, not an object"),
        ("\n", "items", "holds no record"),
        ('{"split": "dev"}\n', "mmlu", "holds no item of the format mmlu"),
        ("{}\n", "nonsense", "'nonsense' is none of items, doit"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, content: str, format: str, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_items(path, format)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        load_items(tmp_path / "absent.jsonl")


def test_items_say_what_they_lack() -> None:
    with pytest.raises(ValueError, match="names no parser"):
        EvalItem(id="1", task="t", kind="exact", prompt="a", gold="b")
    with pytest.raises(ValueError, match="has 1 prompts for 2 choices"):
        EvalItem(id="1", task="t", kind="choice", choices=("a", "b"), gold_index=0, choice_prompts=("a",))


@pytest.mark.parametrize(
    ("file", "format", "count", "kind"),
    [
        ("gsm8k_test_dev", "gsm8k", 658, "exact"),
        ("svamp", "svamp", 1000, "exact"),
        ("math500", "math", 500, "exact"),
        ("bbh", "bbh", 6511, "exact"),
        ("mmlu", "mmlu", 14042, "choice"),
        ("mc_suite", "multiple_choice", 10428, "choice"),
        ("lambada_openai", "lambada", 5153, "nll"),
        ("ifeval", "ifeval", 541, "instructions"),
        ("humaneval", "humaneval", 164, "code"),
        ("mbpp_test", "mbpp", 500, "code"),
        ("open_prompts", "open", 1082, "open"),
    ],
)
def test_benchmarks_are_read_whole(shared_data: Path, file: str, format: str, count: int, kind: str) -> None:
    items = load_items(shared_data / "eval" / f"{file}.jsonl.gz", format)
    assert len(items) == count
    assert {item.kind for item in items} == {kind}
    if kind == "choice":
        assert all(item.chance == 1 / len(item.choices) for item in items)


def test_compressed_files_are_read(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "x.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write('{"prompt": "a", "gold": "b"}\n')
    assert load_items(tmp_path / "x.jsonl.gz")[0].source == "x.jsonl.gz:1"
