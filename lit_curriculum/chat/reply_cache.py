"""A cache of chat replies on disk, so that a run which is repeated or resumed pays for no reply twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from lit_curriculum.chat.client import Budget, ChatClient, ChatReply, ChatRequest, ChatStoppedError, CostBook, Usage
from lit_curriculum.utils.jsonl_log import JsonlLog


def request_key(model: str, request: ChatRequest) -> str:
    """64 hexadecimal digits over all that the answer may depend on: model, messages, sampling options, seed."""
    content = json.dumps({"model": model, **asdict(request)}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


class ReplyCache:
    """Replies by request, in a :class:`~lit_curriculum.utils.jsonl_log.JsonlLog`.

    Several caches may share the file, for example those of the roles of a run. :meth:`refresh` reads what the others
    have paid for, so that one budget holds for all of them.

    Args:
        path: The file; it and its folder are made where they do not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.paid = CostBook()
        """What all replies in the file have cost, by role."""
        self._log: JsonlLog[str, ChatReply] = JsonlLog(path, self._parse, "reply")

    def get(self, key: str) -> ChatReply | None:
        """The reply to a request, if it was ever given."""
        return self._log.entries.get(key)

    def put(self, key: str, role: str, request: ChatRequest, reply: ChatReply) -> None:
        """Append one reply; when this returns, the line is on disk."""
        self._log.append([{"key": key, "role": role, "request": asdict(request), "reply": asdict(reply)}])

    def refresh(self) -> None:
        """Read the lines that this cache or another has written since the last read."""
        self._log.refresh()

    def _parse(self, row: dict[str, Any]) -> tuple[str, ChatReply]:
        fields = row["reply"]
        key, role, reply = row["key"], row["role"], ChatReply(**{**fields, "usage": Usage(**fields["usage"])})
        self.paid.add(role, reply)
        return key, replace(reply, cached=True)


class CachedClient(ChatClient):
    """A chat client that asks each question once, counts what it costs, and stops where the budget ends.

    Args:
        client: Who answers.
        path: File of the replies; see :class:`ReplyCache`.
        budget: Limits, or none. What the file has cost before counts, and what other clients on it cost meanwhile.
    """

    def __init__(self, client: ChatClient, path: str, budget: Budget | None = None) -> None:
        self.client = client
        self.cache = ReplyCache(path)
        self.budget = budget
        self.costs = CostBook()
        """What this client was asked since it was made, by role."""

    @property
    @override
    def model(self) -> str:
        return self.client.model

    @override
    def stream(self, requests: Iterable[ChatRequest], role: str) -> Iterator[tuple[int, ChatReply]]:
        asked = list(requests)
        self.cache.refresh()
        waiting: dict[str, list[int]] = {}
        for position, request in enumerate(asked):
            key = request_key(self.model, request)
            known = self.cache.get(key)
            if known is None:
                waiting.setdefault(key, []).append(position)
            else:
                self.costs.add(role, known)
                yield position, known
        keys = list(waiting)
        num_answered = 0
        num_sent = 0
        stopped = None

        def within_budget() -> Iterator[ChatRequest]:
            nonlocal num_sent, stopped
            for key in keys:
                if self.budget is not None:
                    self.cache.refresh()
                    stopped = self.budget.spent(self.cache.paid.total, num_sent - num_answered)
                    if stopped is not None:
                        return
                num_sent += 1
                yield asked[waiting[key][0]]

        failed = self.costs.role(role)
        try:
            for number, reply in self.client.stream(within_budget(), role):
                num_answered += 1
                self.costs.add(role, reply)
                # A refusal costs nothing and may not be the server's last word.
                if reply.finish_reason != "error":
                    self.cache.put(keys[number], role, asked[waiting[keys[number]][0]], reply)
                for position in waiting[keys[number]]:
                    yield position, reply
        except ChatStoppedError as error:
            failed.failures += error.failures
            failed.retries += error.retries
            raise
        if stopped is not None:
            raise stopped
