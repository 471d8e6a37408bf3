"""Chat clients: requests, replies, what they cost by role, and a budget."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from lit_curriculum.types import Message
from lit_curriculum.utils.options import NamedPart, check_range
from lit_curriculum.utils.progress import display

FinishReason = Literal["stop", "length", "error"]

_COLUMNS = ("calls", "prompt_tokens", "completion_tokens", "retries", "failures", "cache_hits")


class ChatStoppedError(RuntimeError):
    """Raised where a run has to stop: the budget is spent or the server is gone. All paid answers are saved.

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


class ChatClient(NamedPart):
    """A chat model."""

    @property
    @abstractmethod
    def model(self) -> str:
        """Name of the model; part of the cache's key."""

    @property
    def recorded_name(self) -> str:
        return self.model

    @abstractmethod
    def stream(self, requests: Iterable[ChatRequest], role: str) -> Iterator[tuple[int, ChatReply]]:
        """Answers as they come, each with the position of its request.

        Args:
            requests: What to ask; taken one by one as there is room, so that a caller can end them early.
            role: Who asks (``judge``, ``expander`` ...): costs are counted by it.

        Raises:
            ChatStoppedError: no more answers can be had; those that came have been yielded before.
        """

    def chat_many(self, requests: Sequence[ChatRequest], role: str) -> list[ChatReply]:
        """The answers, in the order of ``requests``.

        Raises:
            ChatStoppedError: not all of them can be had.
        """
        replies: dict[int, ChatReply] = {}
        with display(f"Asking {self.model} as {role}", " requests") as advance:
            for place, reply in self.stream(requests, role):
                replies[place] = reply
                advance(len(replies), len(requests))
        return [replies[i] for i in range(len(requests))]


@dataclass(slots=True)
class RoleCosts:
    """Counters of one role."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    retries: int = 0
    """Attempts beyond the first."""
    failures: int = 0
    """Requests that got no answer."""
    cache_hits: int = 0
    """Answers that were at hand and cost nothing."""


@dataclass(slots=True)
class CostBook:
    """Counters by role."""

    roles: dict[str, RoleCosts] = field(default_factory=dict)

    def role(self, name: str) -> RoleCosts:
        """The counters of one role, made at first use."""
        return self.roles.setdefault(name, RoleCosts())

    def add(self, name: str, reply: ChatReply) -> None:
        """Count one reply."""
        costs = self.role(name)
        if reply.cached:
            costs.cache_hits += 1
            return
        costs.retries += reply.retries
        if reply.finish_reason == "error":
            costs.failures += 1
        costs.calls += reply.usage.calls
        costs.prompt_tokens += reply.usage.prompt_tokens
        costs.completion_tokens += reply.usage.completion_tokens

    @property
    def total(self) -> RoleCosts:
        """The sum over roles."""
        return RoleCosts(*(sum(getattr(c, name) for c in self.roles.values()) for name in _COLUMNS))


@dataclass(slots=True)
class UsageByRole:
    """Calls, tokens and retries that a run's answers cost when they were first given, and what failed."""

    by_role: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, role: str, usage: Usage, failures: int = 0) -> None:
        """Count one answer of a role, or several."""
        self._enter(role, {**asdict(usage), "failures": failures})

    def merge(self, other: UsageByRole) -> None:
        """Count all that another one holds."""
        for role, spent in other.by_role.items():
            self._enter(role, spent)

    def _enter(self, role: str, spent: Mapping[str, int]) -> None:
        entry = self.by_role.setdefault(role, dict.fromkeys(spent, 0))
        for name, value in spent.items():
            entry[name] += value


class Budget:
    """Calls and tokens at most, over the life of a cache file: a run that is started again does not start at zero.

    Args:
        max_calls: Calls at most, or none.
        max_tokens: Prompt and completion tokens at most, or none. Requests already under way are still paid, so the
            sum can pass this by as many answers as are asked for at a time. A server that reports no usage counts
            nothing.

    Raises:
        ValueError: a limit is negative.
    """

    def __init__(self, max_calls: int | None = None, max_tokens: int | None = None) -> None:
        check_range("budget", "[0, inf)", max_calls=max_calls, max_tokens=max_tokens)
        self.max_calls = max_calls
        self.max_tokens = max_tokens

    def spent(self, paid: RoleCosts, num_under_way: int = 0) -> ChatStoppedError | None:
        """The error to raise where nothing more may be asked.

        Args:
            paid: What was paid so far.
            num_under_way: Calls that are not in ``paid`` yet.
        """
        tokens = paid.prompt_tokens + paid.completion_tokens
        for name, limit, value in (
            ("max_calls", self.max_calls, paid.calls + num_under_way),
            ("max_tokens", self.max_tokens, tokens),
        ):
            if limit is not None and value >= limit:
                return ChatStoppedError(
                    f"the budget is spent (budget.{name} {limit}); every answer paid for is saved, so raise it and "
                    f"run again to resume."
                )
        return None


def render_costs(book: CostBook) -> str:
    """Markdown table of costs: one row per role, and the total."""
    rows: Mapping[str, RoleCosts] = {**dict(sorted(book.roles.items())), "total": book.total}
    lines = [
        "| role | " + " | ".join(c.replace("_", " ") for c in _COLUMNS) + " |",
        "| --- |" + " ---: |" * len(_COLUMNS),
    ]
    for name, costs in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{getattr(costs, c):,}" for c in _COLUMNS) + " |")
    return "\n".join(lines) + "\n"
