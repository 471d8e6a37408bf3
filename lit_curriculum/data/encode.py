"""From a conversation to the tokens of its two views, with the response tokens marked.

The conditioned view is the whole conversation. The unconditioned view holds the same responses without the user's
and the system's turns: the context of the denominator of IFD (Li et al. 2024, arXiv 2308.12032, section 2.2).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from lit_curriculum.data.template import ChatTemplate, Turn
from lit_curriculum.data.tokenize import Boundary, Span, Tokenizer, ViewText, tokenize, tokenizer_fingerprint
from lit_curriculum.types import EncodedView, Message
from lit_curriculum.utils.options import check_choice, check_range

VERSION = 2
"""Raised whenever the same options give other tokens, so that no older cache is used."""
_NO_LIMIT = 1_000_000_000

TurnEnd = Literal["scored", "excluded", "whole_suffix"]
Unconditioned = Literal["template", "header", "bare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeOptions:
    """How conversations become tokens.

    Args:
        max_length: Largest number of tokens of a view.
        turn_end: Whether what closes the assistant's turn is scored: ``scored`` (without the blanks at its end),
            ``excluded``, or ``whole_suffix`` (with them, as the reference code of IterIT does).
        boundary: ``whole`` tokenises a view in one piece, and a token that straddles the border of a scored span
            and holds characters of it is scored; ``split`` tokenises the pieces between the borders apart.
        unconditioned: What precedes the responses in the unconditioned view: ``template`` renders the
            assistant's turns alone; ``header`` puts only the header of an assistant turn there (behind the
            beginning-of-text token, if the template has one), for templates that refuse to start with the
            assistant; ``bare`` puts nothing there, and the very first token is then not scored.

    Raises:
        ValueError: an option is out of range.
    """

    max_length: int
    turn_end: TurnEnd = "scored"
    boundary: Boundary = "whole"
    unconditioned: Unconditioned = "template"

    def __post_init__(self) -> None:
        check_range("data", "[2, inf)", max_length=self.max_length)
        for name, kind in (("turn_end", TurnEnd), ("boundary", Boundary), ("unconditioned", Unconditioned)):
            check_choice(f"data.{name}", getattr(self, name), get_args(kind))


def choose_max_length(max_length: int | None, context_length: int | None, tokenizer: Tokenizer) -> int:
    """The first that is known of the option, the model's context and the tokenizer's limit.

    Args:
        max_length: The option.
        context_length: Tokens in the model's context.
        tokenizer: The tokenizer, which may know a limit.

    Raises:
        ValueError: none is known.
    """
    for length in (max_length, context_length, tokenizer.model_max_length):
        # Tokenizers say "no limit" with a very large number.
        if length is not None and length < _NO_LIMIT:
            return int(length)
    raise ValueError("data.max_length is not set, and neither the model nor the tokenizer names a limit; set it.")


def encoding_fingerprint(identity: Mapping[str, Any]) -> str:
    """32 hexadecimal digits over an :attr:`Encoder.identity`."""
    return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=16).hexdigest()


class EncodedExample(NamedTuple):
    """Both views of an example, and what did not fit."""

    conditioned: EncodedView
    unconditioned: EncodedView
    num_tokens: int
    """Tokens of the conditioned view before it was cut."""
    num_lost: int
    """Response tokens that were cut off."""


class Encoder:
    """Tokenises conversations.

    Args:
        template: The chat template, bound to the tokenizer.
        options: See :class:`EncodeOptions`.

    Raises:
        ValueError: the tokenizer knows no offsets, which ``boundary: whole`` needs.
    """

    def __init__(self, template: ChatTemplate, options: EncodeOptions) -> None:
        if options.boundary == "whole" and not template.tokenizer.is_fast:
            raise ValueError(
                f"data.tokenizer: {type(template.tokenizer).__name__} is not a fast tokenizer and gives no character "
                "offsets; set data.boundary: split or use a fast tokenizer."
            )
        self.template = template
        self.options = options

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits over everything that decides which tokens a conversation becomes."""
        return encoding_fingerprint(self.identity)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The same in named parts, so that a comparison of two can name what differs."""
        template = hashlib.blake2b(self.template.text.encode(), digest_size=8).hexdigest()
        return {
            "encoder version": VERSION,
            "tokenizer": tokenizer_fingerprint(self.template.tokenizer),
            "data.template": f"{self.template.name} ({template})",
            **{f"data.{name}": value for name, value in asdict(self.options).items()},
        }

    def view_texts(self, messages: Sequence[Message], where: str = "") -> tuple[ViewText, ViewText]:
        """Texts of the conditioned and of the unconditioned view, with their scored spans.

        Args:
            messages: The turns.
            where: Place and id of the example, for the message of an error.

        Raises:
            ValueError: the template refuses one of the views or its responses cannot be located.
        """
        text, turns = self.template.locate(messages, where)
        conditioned = ViewText(text, tuple(self._span(t) for t in turns))
        if self.options.unconditioned == "template":
            alone = tuple(m for m in messages if m.role == "assistant")
            try:
                text, turns = self.template.locate(alone, where)
            except ValueError as error:
                raise ValueError(
                    f"{where}: the view without the user's turns, which IFD needs, cannot be made with the chat "
                    f"template {self.template.name} ({str(error.__cause__ or error).rstrip('.')}); set "
                    "data.unconditioned: header."
                ) from error
            return conditioned, ViewText(text, tuple(self._span(t) for t in turns))
        header = self.template.response_header if self.options.unconditioned == "header" else ""
        pieces, spans, length = [], [], 0
        for turn in turns:
            start = length + len(header)
            spans.append((start, start + self._span(turn)[1] - turn.start))
            # The end of the turn stays in the context even where it is not scored; at the very end it has no use.
            end = turn.suffix_end if turn is not turns[-1] else self._span(turn)[1]
            pieces.append(header + text[turn.start : end])
            length += len(pieces[-1])
        return conditioned, ViewText("".join(pieces), tuple(spans))

    def encode(self, conversations: Sequence[Sequence[Message]], where: Sequence[str] = ()) -> list[EncodedExample]:
        """Both views of each conversation, cut at ``max_length``.

        Where the cut takes response tokens from one view, the other loses the same ones.

        Args:
            conversations: The turns of each example.
            where: Place and id of each example, for messages of errors.
        """
        if not conversations:
            return []
        views = [
            view
            for number, messages in enumerate(conversations)
            for view in self.view_texts(messages, where[number] if where else f"conversation {number + 1}")
        ]
        tokens = tokenize(self.template.tokenizer, views, self.options.boundary)
        return [self._cut(tokens[i], tokens[i + 1]) for i in range(0, len(tokens), 2)]

    def _span(self, turn: Turn) -> Span:
        ends = {"excluded": turn.response_end, "scored": turn.closing_end, "whole_suffix": turn.suffix_end}
        return turn.start, ends[self.options.turn_end]

    def _cut(self, conditioned: EncodedView, unconditioned: EncodedView) -> EncodedExample:
        limit = self.options.max_length
        total = int(conditioned.scored.sum())
        left = int(conditioned.scored[:limit].sum())
        if len(unconditioned.input_ids) > limit:
            left = min(left, int(unconditioned.scored[:limit].sum()))
        views = []
        for view in (conditioned, unconditioned):
            end = limit
            if left < total:
                # One past the last scored token that both views keep.
                end = min(limit, int(np.searchsorted(np.cumsum(view.scored), left)) + 1) if left else 0
            ids, scored = view.input_ids[:end], view.scored[:end].copy()
            scored[:1] = False
            views.append(EncodedView(ids, scored))
        return EncodedExample(views[0], views[1], len(conditioned.input_ids), total - left)
