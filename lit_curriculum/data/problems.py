"""What can be wrong with a record, what is done about it, and the account of every occurrence."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from lit_curriculum.utils.options import check_choice

ProblemKind = Literal["malformed", "empty_response", "duplicate", "truncated", "no_response_left"]
Action = Literal["skip", "keep", "truncate"]

_DONE = {"skip": "skipped", "keep": "kept", "truncate": "cut"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One occurrence."""

    kind: ProblemKind
    source: str
    """``file:line``, or data set and row."""
    id: str
    reason: str
    action: Action


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemPolicy:
    """What is done about each kind of problem; ``error`` stops at once and names the place.

    Args:
        malformed: The record cannot be read, or a field is missing or of the wrong type.
        empty_response: An assistant turn holds nothing but blanks.
        duplicate: The same roles and contents occurred before.
        too_long: The response does not fit in ``max_length`` tokens. ``truncate`` cuts it there; an example of
            which no scored token is left is skipped and reported all the same.

    Raises:
        ValueError: an option has another value.
    """

    malformed: Literal["error", "skip"] = "error"
    empty_response: Literal["error", "skip"] = "skip"
    duplicate: Literal["keep", "skip", "error"] = "keep"
    too_long: Literal["error", "skip", "truncate"] = "error"

    def __post_init__(self) -> None:
        allowed = {
            "malformed": ("error", "skip"),
            "empty_response": ("error", "skip"),
            "duplicate": ("keep", "skip", "error"),
            "too_long": ("error", "skip", "truncate"),
        }
        for name, values in allowed.items():
            check_choice(f"data.{name}", getattr(self, name), values)

    def action(self, kind: ProblemKind) -> Action | Literal["error"]:
        """What is to be done about a problem of ``kind``."""
        if kind == "malformed":
            return self.malformed
        if kind == "empty_response":
            return self.empty_response
        if kind == "duplicate":
            return self.duplicate
        if kind == "no_response_left" and self.too_long == "truncate":
            return "skip"
        return self.too_long

    def option(self, kind: ProblemKind) -> str:
        """The yaml option that decides about ``kind``, with the values that do not stop."""
        if kind in ("truncated", "no_response_left"):
            return "raise data.max_length or set data.too_long: truncate or skip"
        return f"mend the record or set data.{kind}: {'keep or skip' if kind == 'duplicate' else 'skip'}"


class ProblemReport:
    """All problems of one reading: counted, located, and reported once."""

    def __init__(self) -> None:
        self.num_read = 0
        """Records read."""
        self.num_kept = 0
        """Examples that went into the data."""
        self.problems: list[Problem] = []

    @property
    def counts(self) -> dict[ProblemKind, int]:
        """Occurrences of each kind that occurred."""
        counted = Counter(p.kind for p in self.problems)
        return {kind: counted[kind] for kind in get_args(ProblemKind) if counted[kind]}

    def first(self, kind: ProblemKind, count: int = 5) -> list[Problem]:
        """The first ``count`` occurrences of ``kind``."""
        return [p for p in self.problems if p.kind == kind][:count]

    def add(self, policy: ProblemPolicy, kind: ProblemKind, source: str, name: str, reason: str) -> Action:
        """Enter one occurrence and return what is to be done about it.

        Args:
            policy: Decides.
            kind: Kind of problem.
            source: Where it is.
            name: The example's id.
            reason: What is wrong, as the rest of a sentence about the record.

        Raises:
            ValueError: the policy says ``error``.
        """
        action = policy.action(kind)
        if action == "error":
            who = "the record" if name == source else f"example {name}"
            raise ValueError(f"{source}: {who} {reason}; {policy.option(kind)}.")
        self.problems.append(Problem(kind=kind, source=source, id=name, reason=reason, action=action))
        return action

    def extend(self, other: ProblemReport) -> None:
        """Take over the account of another reading."""
        self.num_read += other.num_read
        self.num_kept += other.num_kept
        self.problems.extend(other.problems)

    def summary(self, locations: int = 3) -> str:
        """One paragraph: how many records were read and kept, and each kind with its first places."""
        text = f"{self.num_read} records read, {self.num_kept} examples kept"
        parts = []
        for kind, count in self.counts.items():
            done = Counter(_DONE[p.action] for p in self.problems if p.kind == kind)
            places = ", ".join(p.source for p in self.first(kind, locations))
            parts.append(f"{count} {kind} ({' and '.join(done)}; {'first ' if count > locations else ''}at {places})")
        return f"{text}: {'; '.join(parts)}." if parts else f"{text}, no problems."

    def save(self, path: Path) -> None:
        """Write the account as JSON."""
        content = {
            "num_read": self.num_read,
            "num_kept": self.num_kept,
            "counts": self.counts,
            "problems": [asdict(p) for p in self.problems],
        }
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> ProblemReport:
        """Read what :meth:`save` has written."""
        content = json.loads(path.read_text(encoding="utf-8"))
        report = cls()
        report.num_read = content["num_read"]
        report.num_kept = content["num_kept"]
        report.problems = [Problem(**p) for p in content["problems"]]
        return report
