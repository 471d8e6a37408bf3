"""Rows of tokens that somebody else has made, as the examples of a curriculum."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.types import CONDITIONED, UNCONDITIONED, EncodedView, Example, IntArray, Message

IGNORED = -100
"""Label of a token whose loss does not count, as in Hugging Face's models."""


class TokenStore:
    """An :class:`~lit_curriculum.types.ExampleStore` over tokenised rows, for a data module of one's own.

    The unconditioned view is the row from its first scored token on; that one has nothing before it and is not scored.

    Args:
        rows: [N] mappings with ``input_ids`` and ``labels``, both [L]; a label is the token at the same place, or
            :data:`IGNORED`. A list, a Hugging Face data set, or anything with rows by number.
        ids: [N] names of the rows in files that a run writes; by default ``row-0``, ``row-1``, ...
        abilities: [N] ability, task or source of each row.
        decode: Tokens to text, such as a tokenizer's ``decode``, for metrics of the text.

    Raises:
        ValueError: there is no row, or one whose labels are not as many as its tokens.
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        ids: Sequence[str] | None = None,
        abilities: Sequence[str | None] | None = None,
        decode: Callable[[Sequence[int]], str] | None = None,
    ) -> None:
        if not len(rows):
            raise ValueError("TokenStore was given no rows; there is nothing to train on.")
        self._views: list[EncodedView] = []
        hashes = []
        for number in range(len(rows)):
            tokens = np.asarray(rows[number]["input_ids"], dtype=np.int32)
            labels = np.asarray(rows[number]["labels"], dtype=np.int64)
            if tokens.shape != labels.shape:
                raise ValueError(
                    f"row {number} has {len(tokens)} tokens and {len(labels)} labels; give every token a label, "
                    f"{IGNORED} where its loss does not count."
                )
            scored = labels != IGNORED
            scored[:1] = False  # nothing precedes the first token
            self._views.append(EncodedView(tokens, scored))
            content = hashlib.blake2b(tokens.tobytes() + scored.tobytes(), digest_size=16)
            hashes.append(content.hexdigest().encode())
        self._hashes = np.array(hashes, dtype="S32")
        self._ids = [f"row-{number}" for number in range(len(rows))] if ids is None else list(ids)
        self._abilities = [None] * len(rows) if abilities is None else list(abilities)
        self._decode = decode

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, index: int, /) -> Example:
        messages: tuple[Message, ...] = ()
        if self._decode is not None:
            tokens, first = self._views[index].input_ids.tolist(), self._first_scored(index)
            messages = (
                Message(role="user", content=self._decode(tokens[:first])),
                Message(role="assistant", content=self._decode(tokens[first:])),
            )
        return Example(
            index=index,
            id=self._ids[index],
            messages=messages,
            content_hash=self._hashes[index].decode(),
            ability=self._abilities[index],
        )

    @property
    def content_hashes(self) -> NDArray[np.bytes_]:
        """[N] hashes over the tokens and which of them are scored."""
        return self._hashes

    @property
    def abilities(self) -> Sequence[str | None]:
        """[N] ability of each row."""
        return self._abilities

    def lengths(self, view: str, /) -> IntArray:
        """[N] number of tokens of ``view``."""
        return np.array([len(self.encoded(i, view).input_ids) for i in range(len(self))], dtype=np.int64)

    def num_scored(self, view: str, /) -> IntArray:
        """[N] number of scored tokens of ``view``."""
        return np.array([self.encoded(i, view).scored.sum() for i in range(len(self))], dtype=np.int64)

    def encoded(self, index: int, view: str, /) -> EncodedView:
        """The tokens of one view of one row."""
        assert view in (CONDITIONED, UNCONDITIONED), view
        whole = self._views[index]
        if view == CONDITIONED:
            return whole
        first = self._first_scored(index)
        scored = whole.scored[first:].copy()
        scored[:1] = False
        return EncodedView(whole.input_ids[first:], scored)

    def _first_scored(self, index: int) -> int:
        scored = self._views[index].scored
        return int(scored.argmax()) if scored.any() else len(scored)
