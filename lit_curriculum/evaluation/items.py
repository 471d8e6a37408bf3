"""Evaluation items and options: what is asked, the right answer, and how answers are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import comb
from typing import Any, Literal, get_args

from lit_curriculum.evaluation.likelihood import LogitStep, Norm
from lit_curriculum.types import Example, Message
from lit_curriculum.utils.options import check_choice, check_range

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


MathRule = Literal["normalised", "verified"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """How items are judged.

    Args:
        max_length: Tokens of context and answer together that are scored at most; the model's context.
        max_new_tokens: Tokens of a generated answer at most.
        token_budget: Padded tokens in a batch of likelihoods; it changes nothing beyond rounding.
        logit_step: Which step's letters decide where an answer is no letter: ``first``, or ``last`` as in DoIT's code.
        ppl_norm: Candidates are ranked by ``mean`` loss per token or by its ``sum``.
        math: Answers of mathematics are compared in ``normalised`` spelling or ``verified`` as expressions.
        run_code: Run generated programs (see :mod:`lit_curriculum.evaluation.sandbox`); off unless asked for.
        code_samples: Programs drawn for each item.
        code_temperature: Of those draws where there are several.
        pass_at: The k of pass@k.
        seed: Of all draws.

    Raises:
        ValueError: an option is out of range.
    """

    max_length: int
    max_new_tokens: int = 256
    token_budget: int = 2048
    logit_step: LogitStep = "first"
    ppl_norm: Norm = "mean"
    math: MathRule = "normalised"
    run_code: bool = False
    code_samples: int = 1
    code_temperature: float = 0.2
    pass_at: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in (("logit_step", LogitStep), ("ppl_norm", Norm), ("math", MathRule)):
            check_choice(name, getattr(self, name), get_args(kind))
        for name in ("max_length", "max_new_tokens", "token_budget", "code_samples", "pass_at"):
            check_range("", "[1, inf)", **{name: getattr(self, name)})
        if self.pass_at > self.code_samples:
            raise ValueError(f"pass_at {self.pass_at} needs as many code_samples, got {self.code_samples}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemResult:
    """What became of one item."""

    item: EvalItem
    score: float
    """1 where it is right, 0 where it is not; between them for pass@k and ties."""
    nll_sum: float = 0.0
    """Loss of the gold answer in nats."""
    num_tokens: int = 0
    """Tokens that this loss is over; 0 where it was not taken."""
    answer: str = ""
    """What the model said or picked."""
    reason: str = ""
    """Why, where the score alone does not say."""
    extra: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Further measures as numerator and denominator; a task's value is the ratio of the sums."""


def example_item(example: Example, task: str, parser: str = "whole") -> EvalItem:
    """An item that asks for an example's last response.

    Where ``meta`` holds ``choices``, the gold candidate is ranked against the others: the one at ``gold_index`` in
    ``meta``, else the one that equals the response. Otherwise the answer is generated, and read by the parser that
    ``meta`` names as ``parser``, else by ``parser``. The chance level is ``chance`` in ``meta``; 1 over the
    number of candidates, or 0, where it is not given.

    Args:
        example: Ends with an assistant's turn.
        task: What its score is grouped under.
        parser: Id of the parser where the example names none.

    Raises:
        ValueError: the example does not end with a response, or the response is none of the choices.
    """
    where = example.source or example.id
    if example.messages[-1].role != "assistant":
        raise ValueError(f"{where}: an example that is evaluated must end with the right answer; add that turn.")
    context, gold = example.messages[:-1], example.messages[-1].content
    choices = tuple(str(c) for c in example.meta.get("choices") or ())
    if choices:
        place = example.meta.get("gold_index")
        if place is None:
            if gold not in choices:
                raise ValueError(f"{where}: the response is none of the choices; add it, or give gold_index.")
            place = choices.index(gold)
        chance = float(example.meta.get("chance", 1 / len(choices)))
        return EvalItem(
            id=example.id, task=task, kind="ranked", messages=context, choices=choices, gold_index=int(place),
            gold=choices[int(place)], chance=chance, source=where,
        )  # fmt: skip
    return EvalItem(
        id=example.id, task=task, kind="exact", messages=context, gold=gold, source=where,
        parser=str(example.meta.get("parser", parser)), chance=float(example.meta.get("chance", 0.0)),
    )  # fmt: skip
