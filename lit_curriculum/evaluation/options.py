"""How items are judged, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from lit_curriculum.evaluation.items import EvalItem
from lit_curriculum.evaluation.ranked import LogitStep, Norm
from lit_curriculum.utils.options import check_choice, check_range

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
