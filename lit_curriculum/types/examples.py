"""What an example is, and how a data set gives access to its examples and their tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Role = Literal["system", "user", "assistant"]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

CONDITIONED = "conditioned"
"""Name of the view that holds the whole conversation; its scored tokens are the responses."""
UNCONDITIONED = "unconditioned"
"""Name of the view without the user's turns: the context of the denominator of IFD."""

WHOLE = "whole"
"""Name of the view that holds the whole conversation and scores all its tokens but the first; no store keeps it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


def join_turns(role: Role, turns: Iterable[tuple[str, str]]) -> str:
    """The contents of one speaker's (role, content) turns, joined by newlines."""
    return "\n".join(content for speaker, content in turns if speaker == role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One instruction example; ``index`` is its name for the length of a run, ``content_hash`` across runs."""

    index: int
    """Position in the data; it never changes, and data only ever grows at the end."""
    id: str
    """The record's own id, or ``file:line`` where it has none."""
    messages: tuple[Message, ...]
    content_hash: str
    """32 hexadecimal digits over roles and contents."""
    ability: str | None = None
    """Which ability, task or source the example belongs to; evaluation and mixtures group by it."""
    source: str = ""
    """Where it was read: ``file:line``, or data set and row."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Every other field of the record, untouched."""

    @property
    def instruction(self) -> str:
        """All user turns, joined by newlines."""
        return join_turns("user", ((m.role, m.content) for m in self.messages))

    @property
    def response(self) -> str:
        """All assistant turns, joined by newlines."""
        return join_turns("assistant", ((m.role, m.content) for m in self.messages))


NO_ABILITY = "other"
"""Name under which examples without an ability are counted."""


class EncodedView(NamedTuple):
    """The tokens of one view of one example."""

    input_ids: NDArray[np.int32]
    """[L] token ids."""
    scored: NDArray[np.bool_]
    """[L] true where the token is a target whose loss counts; position 0 never is (nothing precedes it)."""


class ExampleStore(Protocol):
    """Random access to the examples of a data set and to their tokens."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...

    @property
    def content_hashes(self) -> NDArray[np.bytes_]:
        """[N] content hashes, as fixed-width bytes, for vectorised tie-breaking."""
        ...

    @property
    def abilities(self) -> Sequence[str | None]:
        """[N] ability of each example."""
        ...

    def lengths(self, view: str, /) -> IntArray:
        """[N] number of tokens of ``view``."""
        ...

    def num_scored(self, view: str, /) -> IntArray:
        """[N] number of scored tokens of ``view``."""
        ...

    def encoded(self, index: int, view: str, /) -> EncodedView:
        """The tokens of one view of one example."""
        ...


def ability_names(store: ExampleStore, indices: IntArray) -> NDArray[np.str_]:
    """[K] ability of each of the examples ``indices``, or :data:`NO_ABILITY`."""
    abilities = store.abilities
    return np.array([abilities[i] or NO_ABILITY for i in indices.tolist()], dtype=np.str_)


class Subset:
    """The examples ``indices`` of a store, renumbered from 0, as an ``ExampleStore``; nothing is copied.

    Args:
        store: The whole.
        indices: [K] which of its examples; :attr:`indices` keeps them.
    """

    def __init__(self, store: ExampleStore, indices: IntArray) -> None:
        self.store = store
        self.indices = indices
        """[K] which examples of the whole they are."""

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> Example:
        return self.store[int(self.indices[index])]

    @property
    def identity(self) -> dict[str, Any]:
        """What made the tokens, in parts with names."""
        return dict(getattr(self.store, "identity", {}))

    @property
    def content_hashes(self) -> NDArray[np.bytes_]:
        """[K] content hashes."""
        return self.store.content_hashes[self.indices]

    @property
    def abilities(self) -> Sequence[str | None]:
        """[K] ability of each example."""
        everything = self.store.abilities
        return [everything[int(i)] for i in self.indices]

    def lengths(self, view: str, /) -> IntArray:
        """[K] number of tokens of ``view``."""
        return self.store.lengths(view)[self.indices]

    def num_scored(self, view: str, /) -> IntArray:
        """[K] number of scored tokens of ``view``."""
        return self.store.num_scored(view)[self.indices]

    def encoded(self, index: int, view: str, /) -> EncodedView:
        """The tokens of one view of one example."""
        return self.store.encoded(int(self.indices[index]), view)
