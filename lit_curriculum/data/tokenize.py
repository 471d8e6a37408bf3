"""Texts with scored character ranges to token ids with scored flags."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.types import EncodedView

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tokenizer: TypeAlias = "PreTrainedTokenizerBase"
"""A tokenizer of transformers, which is imported only where one is loaded."""
Boundary = Literal["whole", "split"]
Span = tuple[int, int]


class ViewText(NamedTuple):
    """A view of an example before tokenising."""

    text: str
    spans: tuple[Span, ...]
    """Character ranges whose tokens are scored, left to right."""


def tokenize(tokenizer: Tokenizer, views: Sequence[ViewText], boundary: Boundary) -> list[EncodedView]:
    """Tokens of each view; the texts bring their special tokens along, none is added.

    Args:
        tokenizer: The tokenizer.
        views: Texts and ranges; at least one.
        boundary: ``whole`` tokenises a text in one piece and scores every token that holds characters of a range;
            ``split`` tokenises the pieces between the borders of ranges apart and joins them.
    """
    if boundary == "split":
        return _tokenize_pieces(tokenizer, views)
    batch = tokenizer(
        [view.text for view in views],
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    out = []
    for ids, offsets, view in zip(batch["input_ids"], batch["offset_mapping"], views, strict=True):
        scored = tokens_in_spans(np.array(offsets, dtype=np.int64).reshape(-1, 2), view.spans)
        out.append(EncodedView(np.array(ids, dtype=np.int32), scored))
    return out


def tokens_in_spans(offsets: NDArray[np.int64], spans: Iterable[Span]) -> NDArray[np.bool_]:
    """[L] true where a token holds characters of a span, or is empty and inside one.

    Args:
        offsets: [L, 2] first character and one past the last character of each token.
        spans: Character ranges.
    """
    starts, ends = offsets[:, 0], offsets[:, 1]
    # Tokens of blanks alone come with an empty range where the tokenizer trims offsets; theirs are the characters
    # since the token before.
    reached = np.maximum.accumulate(np.concatenate(([0], ends)))[:-1]
    starts = np.where(starts == ends, np.minimum(starts, reached), starts)
    scored = np.zeros(len(offsets), dtype=np.bool_)
    for start, end in spans:
        scored |= (starts < end) & (ends > start)
    return scored


def tokenizer_fingerprint(tokenizer: Tokenizer) -> str:
    """32 hexadecimal digits over a tokenizer's rules, vocabulary and special tokens."""
    content: dict[str, Any] = {"special": {k: str(v) for k, v in tokenizer.special_tokens_map.items()}}
    if tokenizer.is_fast:
        backend = json.loads(tokenizer.backend_tokenizer.to_str())
        # What these two hold depends on the last call.
        content["backend"] = {k: v for k, v in backend.items() if k not in ("truncation", "padding")}
    else:
        content["class"] = type(tokenizer).__name__
        content["vocabulary"] = sorted(tokenizer.get_vocab().items())
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def _tokenize_pieces(tokenizer: Tokenizer, views: Sequence[ViewText]) -> list[EncodedView]:
    pieces = [list(_pieces(view)) for view in views]
    flat = [text for row in pieces for text, _ in row]
    options = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
    ids = iter(tokenizer(flat, **options)["input_ids"] if flat else [])
    out = []
    for row in pieces:
        parts = [(next(ids), scored) for _, scored in row]
        flags = [scored for part, scored in parts for _ in part]
        out.append(EncodedView(np.array([i for part, _ in parts for i in part], np.int32), np.array(flags, np.bool_)))
    return out


def _pieces(view: ViewText) -> Iterator[tuple[str, bool]]:
    position = 0
    for start, end in (*view.spans, (len(view.text), len(view.text))):
        if position < start:
            yield view.text[position:start], False
        if start < end:
            yield view.text[start:end], True
        position = end
