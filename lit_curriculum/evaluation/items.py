"""Evaluation items: what is asked, what the right answer is, and how an answer is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import comb
from typing import Any, Literal, get_args

from lit_curriculum.types import Message

ItemKind = Literal["exact", "ranked", "choice", "nll", "instructions", "code", "open"]
"""How an item is judged.

``exact`` parses a generated answer; ``ranked`` asks whether the gold candidate has the lowest perplexity as the
assistant's turn; ``choice`` whether it is the likeliest continuation of a plain prompt; ``nll`` measures the loss of
the gold answer; ``instructions`` runs IFEval's checks, ``code`` unit tests; ``open`` needs a judge.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalItem:
    """One question of an evaluation.

    Raises:
        ValueError: the item lacks what its kind needs.
    """

    id: str
    task: str
    """Ability or task; scores are grouped by it."""
    kind: ItemKind
    messages: tuple[Message, ...] = ()
    """The conversation up to the answer, ending with a user's turn; empty where ``prompt`` is used."""
    prompt: str | None = None
    """Plain text that the answer continues, without a chat template."""
    gold: str = ""
    """The right answer."""
    choices: tuple[str, ...] = ()
    """Candidates of ``ranked`` and ``choice`` items; ``meta`` may hold the texts of letters."""
    gold_index: int | None = None
    """Place of the right one among ``choices``."""
    choice_prompts: tuple[str, ...] = ()
    """Where the context differs instead of the continuation (Winogrande): one prompt a choice."""
    parser: str | None = None
    """Id of the parser of an ``exact`` item; see :data:`lit_curriculum.evaluation.parsers.PARSERS`."""
    chance: float = 0.0
    """Probability that a blind guess is right."""
    source: str = ""
    """Where it was read: ``file:line``."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What the kind needs beside: ``logit_choices``, instruction checks, unit tests, and the record's other fields."""

    def __post_init__(self) -> None:
        where = f"{self.source or self.task}: item {self.id}"
        if self.kind not in get_args(ItemKind):
            raise ValueError(f"{where} has kind {self.kind!r}, which is none of {', '.join(get_args(ItemKind))}.")
        if (self.prompt is None) == (not self.messages) and not self.choice_prompts:
            raise ValueError(f"{where} needs exactly one of messages and prompt.")
        if not 0.0 <= self.chance <= 1.0:
            raise ValueError(f"{where} has chance {self.chance}, which is no probability.")
        if self.kind == "exact" and self.parser is None:
            raise ValueError(f"{where} is judged by exact match but names no parser.")
        if self.kind in ("ranked", "choice"):
            if len(self.choices) < 2:
                raise ValueError(f"{where} has {len(self.choices)} choices; it needs at least 2.")
            if self.gold_index is None or not 0 <= self.gold_index < len(self.choices):
                raise ValueError(f"{where}: gold_index {self.gold_index} is not a place among its choices.")
        if self.choice_prompts and len(self.choice_prompts) != len(self.choices):
            raise ValueError(f"{where} has {len(self.choice_prompts)} prompts for {len(self.choices)} choices.")


def choice_chance(num_choices: int) -> float:
    """Probability of picking the right one of ``num_choices``."""
    return 1.0 / num_choices


def set_chance(num_gold: int, num_options: int = 4) -> float:
    """Probability of guessing a set whose size is known: one over the number of sets of that size.

    A guesser who does not know the size has 1/15 with four options; DoIT's code uses the form here.
    """
    return 1.0 / comb(num_options, num_gold)
