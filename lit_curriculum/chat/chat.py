"""What passes between the roles and a chat model: requests, replies, and what they cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lit_curriculum.types import Message
from lit_curriculum.utils.progress import display

FinishReason = Literal["stop", "length", "error"]


class DistillStoppedError(RuntimeError):
    """A run that has to stop: the budget is spent or the server is gone. All that was paid for is saved.

    Args:
        message: One sentence: what happened and what to do.
        failures: Requests that got no answer.
        retries: Attempts that they cost beyond the first.
    """

    def __init__(self, message: str, failures: int = 0, retries: int = 0) -> None:
        super().__init__(message)
        self.failures = failures
        self.retries = retries


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What something has cost."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    retries: int = 0
    """Attempts beyond the first; what they cost is not known."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            retries=self.retries + other.retries,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One question to a chat model."""

    messages: tuple[Message, ...]
    temperature: float = 0.0
    max_tokens: int = 512
    """Tokens of the answer at most."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """One answer; ``usage`` is what it cost when it was first given, also where a cache gave it now."""

    text: str
    finish_reason: FinishReason
    """``error`` where the server refused this request for good; then ``text`` says why."""
    usage: Usage = field(default_factory=Usage)
    cached: bool = False
    retries: int = 0
    """Attempts beyond the first."""


class ChatClient(ABC):
    """A chat model."""

    @property
    @abstractmethod
    def model(self) -> str:
        """Name of the model; part of the cache's key."""

    @abstractmethod
    def stream(self, requests: Iterable[ChatRequest], role: str) -> Iterator[tuple[int, ChatReply]]:
        """Answers as they come, each with the position of its request.

        Args:
            requests: What to ask; taken one by one as there is room, so that a caller can end them early.
            role: Who asks (``judge``, ``expander`` ...): costs are counted by it.

        Raises:
            DistillStoppedError: no more answers can be had; those that came have been yielded before.
        """

    def chat_many(self, requests: Sequence[ChatRequest], role: str) -> list[ChatReply]:
        """The answers, in the order of ``requests``.

        Raises:
            DistillStoppedError: not all of them can be had.
        """
        replies: dict[int, ChatReply] = {}
        with display(f"Asking {self.model} as {role}", " requests") as advance:
            for place, reply in self.stream(requests, role):
                replies[place] = reply
                advance(len(replies), len(requests))
        return [replies[i] for i in range(len(requests))]
