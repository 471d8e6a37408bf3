"""The client of chat servers against a real server on loopback, which is slow, refuses, dies and talks nonsense."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lit_curriculum.chat.client import Budget, ChatRequest, ChatStoppedError
from lit_curriculum.chat.openai_client import OpenAIClient
from lit_curriculum.chat.reply_cache import CachedClient
from lit_curriculum.types import Message
from tests.chat.chat_server import serving


def ask(count: int) -> list[ChatRequest]:
    return [ChatRequest(messages=(Message(role="user", content=f"number {i}"),), seed=7) for i in range(count)]


def client(url: str, concurrency: int = 4, timeout: float = 10.0, attempts: int = 3) -> OpenAIClient:
    return OpenAIClient("m", url, concurrency=concurrency, timeout=timeout, pause=0.01, max_attempts=attempts)


def test_answers_come_in_order_and_requests_run_side_by_side() -> None:
    def behave(number: int, body: dict[str, Any]) -> str:
        del number, body
        time.sleep(0.05)
        return "ok"

    with serving(behave) as server:
        replies = client(server.url).chat_many(ask(12), "teacher")
    assert [r.text for r in replies] == [f"echo: number {i}" for i in range(12)]
    assert all(r.usage.prompt_tokens == 3 and r.usage.completion_tokens == 5 for r in replies)
    assert 2 <= server.most_at_once <= 4
    assert server.seen[0]["seed"] == 7
    assert server.seen[0]["temperature"] == 0.0


@pytest.mark.parametrize("trouble", ["429", "500", "503", "drop", "nonsense"])
def test_passing_trouble_is_tried_again(trouble: str, tmp_path: Path) -> None:
    with serving(lambda number, body: trouble if number % 3 == 0 else "ok") as server:
        cached = CachedClient(client(server.url, attempts=6), str(tmp_path / "replies.jsonl"))
        replies = cached.chat_many(ask(10), "judge")
        assert [r.text for r in replies] == [f"echo: number {i}" for i in range(10)]
        assert server.num_paid == 10
    costs = cached.costs.role("judge")
    assert (costs.calls, costs.retries, costs.failures) == (10, len(server.seen) - 10, 0)
    assert costs.retries >= 3


def test_slow_answers_time_out_and_are_tried_again() -> None:
    with serving(lambda number, body: "slow" if number == 0 else "ok") as server:
        replies = client(server.url, concurrency=1, timeout=0.3).chat_many(ask(3), "teacher")
    assert [r.retries for r in replies] == [1, 0, 0]


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ("500", r"because of HTTP status 500 \(3 attempts\)"),
        ("429", "HTTP status 429"),
        ("drop", "a broken connection"),
        ("nonsense", "an answer that is no chat completion"),
        ("401", r"because of HTTP status 401; the"),
    ],
)
def test_lasting_trouble_stops_with_a_sentence_and_loses_nothing(trouble: str, sentence: str, tmp_path: Path) -> None:
    path = str(tmp_path / "replies.jsonl")
    with serving(lambda number, body: "ok" if number < 9 else trouble) as server:
        first = CachedClient(client(server.url), path)
        with pytest.raises(ChatStoppedError, match=sentence):
            first.chat_many(ask(20), "judge")
        assert len(first.cache.paid.roles) == 1
        assert first.cache.paid.total.calls == server.num_paid == 9
        assert 1 <= first.costs.role("judge").failures <= 4
    with serving() as server:
        second = CachedClient(client(server.url), path)
        replies = second.chat_many(ask(20), "judge")
        assert [r.text for r in replies] == [f"echo: number {i}" for i in range(20)]
        assert server.num_paid == 11
        assert second.costs.role("judge").cache_hits == 9


def test_server_that_is_gone_stops_with_a_sentence(tmp_path: Path) -> None:
    with serving() as server:
        gone = server.url
    with pytest.raises(ChatStoppedError, match=r"gave no answer to \d request\(s\).*run again to resume"):
        CachedClient(client(gone), str(tmp_path / "replies.jsonl")).chat_many(ask(5), "judge")


def test_refused_request_is_set_aside_alone(tmp_path: Path) -> None:
    def behave(number: int, body: dict[str, Any]) -> str:
        del number
        return "400" if body["messages"][0]["content"] == "number 2" else "ok"

    with serving(behave) as server:
        cached = CachedClient(client(server.url), str(tmp_path / "replies.jsonl"))
        replies = cached.chat_many(ask(5), "judge")
    assert [r.finish_reason for r in replies] == ["stop", "stop", "error", "stop", "stop"]
    assert cached.costs.role("judge").failures == 1
    assert cached.cache.paid.total.calls == 4


def test_budget_stops_after_what_is_under_way(tmp_path: Path) -> None:
    path = str(tmp_path / "replies.jsonl")
    with serving() as server:
        cached = CachedClient(client(server.url), path, Budget(max_calls=6))
        with pytest.raises(ChatStoppedError, match=r"the budget is spent \(budget\.max_calls 6\)"):
            cached.chat_many(ask(20), "judge")
        assert server.num_paid == cached.cache.paid.total.calls == 6
        # Starting again does not start the budget again.
        with pytest.raises(ChatStoppedError, match="the budget is spent"):
            CachedClient(client(server.url), path, Budget(max_calls=6)).chat_many(ask(20), "judge")
        assert server.num_paid == 6
        with pytest.raises(ChatStoppedError, match=r"budget\.max_tokens 100"):
            CachedClient(client(server.url), path, Budget(max_tokens=100)).chat_many(ask(40), "judge")
        assert 13 <= server.num_paid <= 13 + 4


def test_rate_limit_spaces_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("lit_curriculum.chat.openai_client.time.monotonic", lambda: 100.0)
    monkeypatch.setattr("lit_curriculum.chat.openai_client.time.sleep", waits.append)
    with serving() as server:
        OpenAIClient("m", server.url, requests_per_minute=1200).chat_many(ask(7), "judge")
    assert sorted(waits) == pytest.approx([k * 60 / 1200 for k in range(7)])


def test_key_comes_from_the_environment_and_stays_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEY", "very-secret")
    path = tmp_path / "replies.jsonl"
    with serving() as server:
        keyed = OpenAIClient("m", server.url, api_key_env="TOY_KEY")
        CachedClient(keyed, str(path)).chat_many(ask(1), "judge")
    assert server.keys == ["Bearer very-secret"]
    assert "very-secret" not in path.read_text() + repr(vars(keyed))
    monkeypatch.delenv("TOY_KEY")
    with pytest.raises(ValueError, match="the environment variable TOY_KEY is not set"):
        OpenAIClient("m", server.url, api_key_env="TOY_KEY")


def test_options_out_of_range_and_a_missing_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"client\.concurrency must be at least 1, got 0"):
        OpenAIClient("m", "http://x/v1", concurrency=0)
    with pytest.raises(ValueError, match=r"client\.requests_per_minute must be above 0"):
        OpenAIClient("m", "http://x/v1", requests_per_minute=0)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ValueError, match="needs the package openai"):
        OpenAIClient("m", "http://x/v1").chat_many(ask(1), "judge")
