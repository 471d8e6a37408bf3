"""Conversations in a few lines."""

from __future__ import annotations

from lit_curriculum.types import Message

ROLES = {"s": "system", "u": "user", "a": "assistant"}


def talk(*turns: str) -> tuple[Message, ...]:
    """Turns from strings such as ``u:Hello``."""
    return tuple(Message(role=ROLES[t[0]], content=t[2:]) for t in turns)  # type: ignore[arg-type]
