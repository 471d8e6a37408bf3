"""Every record format becomes the same turns, and what is unclear is refused by the name of its field."""

from __future__ import annotations

from typing import Any

import pytest

from lit_curriculum.data.formats import MalformedRecordError, content_hash, has_empty_response, name_ability, to_example
from lit_curriculum.types import Message


def turns(fields: dict[str, Any], input_join: str = "\n\n") -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in to_example(fields, "f:1", input_join=input_join).messages]


QA = [("user", "Q"), ("assistant", "A")]


@pytest.mark.parametrize(
    "fields",
    [
        {"instruction": "Q", "output": "A"},
        {"instruction": "Q", "input": "", "output": "A"},
        {"instruction": "Q", "input": None, "output": "A", "system": None, "history": None},
        {"instruction": "", "input": "Q", "output": "A"},
        {"instruction": "Q", "output": "A", "prompt": "formatted Q", "answer": "short A", "response": "x"},
        {"prompt": "Q", "response": "A"},
        {"prompt": "Q", "completion": "A"},
        {"question": "Q", "answer": "A"},
        {"query": "Q", "response": "A"},
        {"instruction": "Q", "context": "", "response": "A"},
        {"input": "Q", "output": "A"},
        {"input": "Q", "output": ["A", "or A"]},
        {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}], "prompt": "Q"},
        {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
        {"conversations": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]},
        {"conversation": [{"from": "user", "value": "Q"}, {"from": "model", "value": "A"}]},
    ],
)
def test_formats_that_say_the_same(fields: dict[str, Any]) -> None:
    assert turns(fields) == QA


def test_input_is_joined_as_the_option_says() -> None:
    assert turns({"instruction": "Q", "input": "in", "output": "A"})[0] == ("user", "Q\n\nin")
    assert turns({"instruction": "Q", "input": "in", "output": "A"}, "\n")[0] == ("user", "Q\nin")
    assert turns({"instruction": "Q", "context": "in", "response": "A"}, " ")[0] == ("user", "Q in")


def test_system_and_history_come_first() -> None:
    fields = {"instruction": "Q", "output": "A", "system": "S", "history": [["Q0", "A0"], ("Q1", "A1")]}
    before = [("system", "S"), ("user", "Q0"), ("assistant", "A0"), ("user", "Q1"), ("assistant", "A1")]
    assert turns(fields) == [*before, *QA]
    messages = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    assert turns({"system": "S", "messages": messages}) == [("system", "S"), *QA]
    sharegpt = [{"from": "system", "value": "S"}, {"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    assert turns({"conversations": sharegpt}) == [("system", "S"), *QA]


def test_id_ability_source_and_everything_else() -> None:
    fields = {"instruction": "Q", "input": "", "output": ["A", "B"], "id": 7, "task": "sums", "level": 3, "source": "x"}
    example = to_example(fields, "file.jsonl:9", index=4)
    assert (example.index, example.id, example.ability, example.source) == (4, "7", "sums", "file.jsonl:9")
    assert example.meta == {"level": 3, "source": "x", "output": ["A", "B"]}
    plain = to_example({"prompt": "Q", "response": "A", "ability": "x", "task": "y", "id": None}, "file.jsonl:9")
    assert (plain.id, plain.ability, plain.meta) == ("file.jsonl:9", "x", {"task": "y", "id": None})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "has none of the fields instruction, prompt, question, query .it has no field"),
        ({"text": "x", "code": "y"}, "has none of the fields instruction.*.it has text, code"),
        ({"instruction": "Q"}, "has none of the fields output, response, completion, answer"),
        ({"instruction": "Q", "output": None}, "has a field output that is null, expected text"),
        ({"instruction": "Q", "response": None}, "has a field response that is null, expected text"),
        ({"instruction": "Q", "output": 5}, "has a field output that is a number, expected text"),
        ({"instruction": "Q", "output": []}, "output that is an empty list of references"),
        ({"instruction": "Q", "output": [1]}, r"output\[0\] that is a number"),
        ({"instruction": ["Q"], "output": "A"}, "instruction that is a list, expected text"),
        ({"instruction": "Q", "input": {"a": 1}, "output": "A"}, "input that is an object, expected text"),
        ({"instruction": " ", "output": "A"}, "has an empty user turn at place 1"),
        ({"instruction": "Q", "prompt": "Q", "response": "A"}, "instruction and prompt; which one is meant"),
        ({"instruction": "Q", "response": "A", "answer": "A"}, "response and answer; which one is meant"),
        ({"input": "Q", "context": "C", "output": "A"}, "input and context; which one is meant"),
        ({"instruction": "Q", "output": "A", "system": 1}, "system that is a number"),
        ({"instruction": "Q", "output": "A", "history": "Q0"}, "history that is text, not a list"),
        ({"instruction": "Q", "output": "A", "history": [["Q0"]]}, r"history\[0\] that is no"),
        ({"instruction": "Q", "output": "A", "history": [["Q0", None]]}, r"history\[0\]\[1\] that is null"),
        ({"instruction": "Q", "output": "A", "id": 1.5}, "id that is a number, expected text"),
        ({"instruction": "Q", "output": "A", "id": True}, "id that is true or false"),
        ({"instruction": "Q", "output": "A", "task": ["x"]}, "task that is a list"),
        ({"instruction": "Q", "output": "\ud800"}, "output with half a surrogate pair"),
        ({"messages": [], "conversations": []}, "both messages and conversations"),
        ({"messages": []}, "a field messages without a turn"),
        ({"messages": "Q"}, "messages that is text, not a list of turns"),
        ({"messages": ["Q"]}, r"turn messages\[0\] that is text"),
        ({"messages": [{"role": "user"}]}, r"turn messages\[0\] without content"),
        ({"messages": [{"content": "Q"}]}, r"turn messages\[0\] without role"),
        ({"conversations": [{"from": "human"}]}, r"turn conversations\[0\] without value"),
        ({"messages": [{"role": "tool", "content": "Q"}]}, r"messages\[0\] with the role 'tool'; known are system"),
        ({"messages": [{"role": "user", "content": None}]}, r"messages\[0\]\.content that is null"),
        ({"messages": [{"role": "user", "content": "Q"}]}, "ends with the turn of the user"),
        ({"messages": [{"role": "assistant", "content": "A"}]}, "has no turn of the user"),
        (
            {"messages": [{"role": r, "content": "x"} for r in ("user", "system", "assistant")]},
            "has a system turn at place 2",
        ),
        (
            {"system": "S", "messages": [{"role": r, "content": "x"} for r in ("system", "user", "assistant")]},
            "a field system and a system turn in messages as well",
        ),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedRecordError, match=reason):
        to_example(fields, "f:1")


def test_another_field_can_name_the_ability() -> None:
    fields = {"id": 3, "instruction": "a", "output": "b", "category": "open_qa", "task": "other"}
    example = to_example(name_ability("category", fields, "f:1"), "f:1")
    assert example.ability == "open_qa"
    assert example.meta == {"category": "open_qa", "task": "other"}
    with pytest.raises(MalformedRecordError, match=r"has no field kind, which data.ability_field names \(it has id,"):
        name_ability("kind", fields, "f:1")


def test_content_hash_is_over_roles_and_contents_alone() -> None:
    one = to_example({"instruction": "Q", "output": "A", "id": "1"}, "f:1").content_hash
    assert one == to_example({"prompt": "Q", "response": "A", "task": "t"}, "g:7").content_hash
    assert len(one) == 32
    # printf 'user:1:Qassistant:1:A' | b2sum -l 128
    assert one == "fa09d1e0893c5bfb354e6968f47f215c"
    others = [("user", "QA"), ("assistant", "A")], [("user", "Q"), ("assistant", "A ")], [("user", "Q")]
    hashes = {content_hash([Message(role=r, content=c) for r, c in other]) for other in others}  # type: ignore[arg-type]
    assert len(hashes | {one}) == 4


def test_empty_responses_are_seen_in_every_assistant_turn() -> None:
    assert has_empty_response(to_example({"prompt": "Q", "response": " \n"}, "").messages)
    assert has_empty_response(to_example({"prompt": "Q", "response": "A", "history": [["Q", ""]]}, "").messages)
    assert not has_empty_response(to_example({"prompt": "Q", "response": "A"}, "").messages)
