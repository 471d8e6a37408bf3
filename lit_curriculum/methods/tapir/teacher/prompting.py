"""Prompts as files: a version, a system turn and a user turn with named places."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lit_curriculum.chat.client import ChatRequest
from lit_curriculum.types import Message

FOLDER = Path(__file__).parent / "prompts"
_PLACE = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt file: the version on its first line, then the system turn, a line ``---``, and the user turn."""

    version: str
    system: str
    user: str

    def request(self, values: Mapping[str, str], *, temperature: float, max_tokens: int, seed: int = 0) -> ChatRequest:
        """The request with ``values`` at the places; braces inside a value are left alone."""

        def fill(text: str) -> str:
            return _PLACE.sub(lambda place: values[place.group(1)], text)

        messages = (Message(role="system", content=fill(self.system)), Message(role="user", content=fill(self.user)))
        return ChatRequest(messages=messages, temperature=temperature, max_tokens=max_tokens, seed=seed)


def load_prompt(source: str, places: set[str]) -> Prompt:
    """A prompt of the package by its name (``judge``), or a file of your own by its path.

    Args:
        source: Name or path.
        places: The names in braces that it has to hold, all of them and no others.

    Raises:
        ValueError: there is no such file, it lacks a part, or its places are others.
    """
    path = FOLDER / f"{source}.txt"
    if not path.is_file():
        path = Path(source)
    if not path.is_file():
        raise ValueError(f"the prompt {source!r} is neither a prompt of the package nor a file; give its path.")
    version, _, rest = path.read_text(encoding="utf-8").partition("\n")
    system, line, user = rest.partition("\n---\n")
    if not line or not version.strip():
        raise ValueError(f"{path}: a prompt is a version on line 1, a system turn, a line ---, and a user turn.")
    found = set(_PLACE.findall(system + user))
    if found != places:
        raise ValueError(f"{path}: the prompt has the places {sorted(found)} and needs {sorted(places)}.")
    return Prompt(version.strip(), system.strip(), user.strip())
