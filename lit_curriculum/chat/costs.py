"""What the roles have cost: calls, tokens, retries, failures and cache hits, and a limit to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from lit_curriculum.chat.chat import ChatReply, DistillStoppedError, Usage

_COLUMNS = ("calls", "prompt_tokens", "completion_tokens", "retries", "failures", "cache_hits")


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
        for name, limit in (("max_calls", max_calls), ("max_tokens", max_tokens)):
            if limit is not None and limit < 0:
                raise ValueError(f"budget.{name} must be at least 0, got {limit}.")
        self.max_calls = max_calls
        self.max_tokens = max_tokens

    def spent(self, paid: RoleCosts, num_under_way: int = 0) -> DistillStoppedError | None:
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
                return DistillStoppedError(
                    f"the budget is spent (budget.{name} {limit}); every answer paid for is saved, so raise it and "
                    f"run again to go on."
                )
        return None


def render_costs(book: CostBook, style: Literal["markdown", "json"] = "markdown") -> str:
    """The cost page: one row a role, and the sum.

    Args:
        book: What was counted.
        style: A markdown table, or JSON for programs.
    """
    rows: Mapping[str, RoleCosts] = {**dict(sorted(book.roles.items())), "total": book.total}
    if style == "json":
        return json.dumps({name: asdict(costs) for name, costs in rows.items()}, indent=1) + "\n"
    lines = [
        "| role | " + " | ".join(c.replace("_", " ") for c in _COLUMNS) + " |",
        "| --- |" + " ---: |" * len(_COLUMNS),
    ]
    for name, costs in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{getattr(costs, c):,}" for c in _COLUMNS) + " |")
    return "\n".join(lines) + "\n"
