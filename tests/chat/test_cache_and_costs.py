"""Replies on disk: nothing is asked twice, a crash costs one line, and all costs are counted by role."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from lit_curriculum.chat.client import Budget, ChatRequest, ChatStoppedError, render_costs
from lit_curriculum.chat.reply_cache import CachedClient, ReplyCache, request_key
from lit_curriculum.types import Message
from tests.chat.scripted_client import ScriptedClient


def request(text: str, seed: int = 0) -> ChatRequest:
    return ChatRequest(messages=(Message(role="user", content=text),), seed=seed)


def scripted() -> ScriptedClient:
    return ScriptedClient(lambda r: r.messages[-1].content.upper())


def test_a_repeated_run_asks_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "replies.jsonl")
    asked = [request("a"), request("b"), request("a"), request("a", seed=1)]
    first = CachedClient(scripted(), path)
    replies = first.chat_many(asked, "judge")
    assert [r.text for r in replies] == ["A", "B", "A", "A"]
    inner = scripted()
    second = CachedClient(inner, path)
    assert [r.text for r in second.chat_many(asked, "judge")] == ["A", "B", "A", "A"]
    assert inner.num_calls == 0
    assert second.costs.role("judge").cache_hits == 4
    assert first.costs.role("judge").calls == 3
    assert second.cache.paid.total.calls == 3


def test_key_depends_on_all_that_the_answer_may_depend_on() -> None:
    base = request("a")
    others = [
        request("b"),
        request("a", seed=1),
        replace(base, temperature=0.5),
        replace(base, max_tokens=9),
        replace(base, messages=(Message(role="system", content="a"),)),
    ]
    assert len({request_key("m", r) for r in [base, *others]} | {request_key("n", base)}) == 7
    assert request_key("m", base) == request_key("m", request("a"))


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_torn_last_line_is_reported_and_asked_again(
    kept: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "replies.jsonl"
    CachedClient(scripted(), str(path)).chat_many([request("a"), request("b"), request("c")], "judge")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2].rstrip(b"\n")[:kept])
    inner = scripted()
    with caplog.at_level(logging.WARNING):
        cached = CachedClient(inner, str(path))
    assert "replies.jsonl:3 is no complete reply" in caplog.text
    assert [r.text for r in cached.chat_many([request("a"), request("c")], "judge")] == ["A", "C"]
    assert inner.num_calls == 1
    again = ReplyCache(path)
    assert again.paid.total.calls == 3


def test_answers_are_on_disk_before_they_are_handed_on(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    stream = CachedClient(scripted(), str(path)).stream([request("a"), request("b")], "judge")
    next(stream)
    assert len(path.read_text().splitlines()) == 1
    stream.close()
    assert json.loads(path.read_text())["reply"]["text"] == "A"


def test_clients_on_one_file_share_what_is_paid_and_one_budget(tmp_path: Path) -> None:
    path, budget = str(tmp_path / "replies.jsonl"), Budget(max_calls=3)
    judge, teacher = CachedClient(scripted(), path, budget), CachedClient(scripted(), path, budget)
    judge.chat_many([request("a"), request("b")], "judge")
    with pytest.raises(ChatStoppedError, match=r"the budget is spent \(budget.max_calls 3\)"):
        teacher.chat_many([request("a"), request("c"), request("d")], "teacher")
    assert teacher.costs.role("teacher").cache_hits == 1, "the judge had paid for it"
    assert teacher.cache.paid.total.calls == ReplyCache(path).paid.total.calls == 3
    assert judge.chat_many([request("c")], "judge")[0].cached
    assert len(Path(path).read_text().splitlines()) == 3


def test_cost_page(tmp_path: Path) -> None:
    cached = CachedClient(scripted(), str(tmp_path / "r.jsonl"))
    cached.chat_many([request("a b"), request("c")], "judge")
    cached.chat_many([request("a b"), request("d e f")], "teacher")
    table = render_costs(cached.costs).splitlines()
    assert table[0] == "| role | calls | prompt tokens | completion tokens | retries | failures | cache hits |"
    assert table[2:] == [
        "| judge | 2 | 3 | 3 | 0 | 0 | 0 |",
        "| teacher | 1 | 3 | 3 | 0 | 0 | 1 |",
        "| total | 3 | 6 | 6 | 0 | 0 | 1 |",
    ]


def test_scripted_client_cuts_at_max_tokens() -> None:
    reply = scripted().chat_many([replace(request("a b c d"), max_tokens=2)], "teacher")[0]
    assert (reply.text, reply.finish_reason, reply.usage.completion_tokens) == ("A B", "length", 2)


def test_negative_budget_is_refused() -> None:
    with pytest.raises(ValueError, match=r"budget\.max_tokens must be at least 0, got -1"):
        Budget(max_tokens=-1)
