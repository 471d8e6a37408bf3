"""Pairwise objective: separate the reference answer from the answer of the model in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from typing_extensions import override

from lit_curriculum.difficulty.fingerprint import is_sharded
from lit_curriculum.difficulty.learned import UpdateContext
from lit_curriculum.difficulty.runner import answers_in_parts
from lit_curriculum.methods.campus.scorer.features import Answer, reference
from lit_curriculum.methods.campus.scorer.objective import Lesson, ReferenceFeatures, ScorerObjective, ScoringNet
from lit_curriculum.types import CONDITIONED, GenerativeModel, IntArray
from lit_curriculum.utils.distributed import scatter
from lit_curriculum.utils.options import check_range

PairDifficulty = Literal["gap", "own_answer", "reference"]
_RIDGE = 1.0


def bradley_terry_loss(better: Tensor, worse: Tensor) -> Tensor:
    """Mean of ``-log sigmoid(r(x, y) - r(x, y_hat))`` over pairs [B]."""
    return -logsigmoid(better - worse).mean()


class Pairwise(ScorerObjective):
    """Bradley-Terry on reference against the model's answer: pairs that are still distinguishable are hard.

    The model answers a number of drawn examples at each update. Their difficulty uses the score of that answer; for
    the others it is predicted by ridge regression on the features of the reference, so no more has to be generated.

    The model's most likely answer is used by default. Drawn answers (``temperature`` 1) of a model that has
    learned little are mostly noise, and how distinguishable noise is depends on the form of the task more than on what
    the model knows: the gap then runs against the loss rather than with it (``experiments/learned_scorer``).

    Args:
        difficulty: ``gap``: r(x, y) - r(x, y_hat); ``own_answer``: -r(x, y_hat); ``reference``: -r(x, y), which
            needs no answer of the example itself.
        num_answers: Examples that the model answers at each update; none answers all of them.
        max_new_tokens: Tokens at most of an answer; references are cut there too, or length would give them away.
        temperature: Of the answers; 0 takes the most likely token each time.

    Raises:
        ValueError: an option is out of range.
    """

    model_methods = ("generate",)
    needs_answers = True

    def __init__(
        self,
        difficulty: PairDifficulty = "gap",
        num_answers: int | None = 64,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
    ) -> None:
        check_range(self, "[1, inf)", num_answers=num_answers, max_new_tokens=max_new_tokens)
        check_range(self, "[0, inf)", temperature=temperature)
        self.kind: PairDifficulty = difficulty
        self.num_answers = num_answers
        self.max_new_tokens = self.max_reference_tokens = max_new_tokens
        self.temperature = temperature
        self._answered = torch.zeros(0, dtype=torch.int64)
        self._answer_scores = torch.zeros(0)
        self._ridge = torch.zeros(0)
        self._ridge_mean = torch.zeros(())

    @property
    @override
    def name(self) -> str:
        count = "all" if self.num_answers is None else self.num_answers
        return f"pairwise-{self.kind}-{count}-{self.max_new_tokens}-{self.temperature:g}"

    @override
    def collect(
        self, context: UpdateContext, references: ReferenceFeatures, fresh: IntArray, loss: str
    ) -> Lesson | None:
        del fresh, loss
        store = context.store
        seed = int(context.generator.integers(1 << 31))
        scorable = np.flatnonzero(store.num_scored(CONDITIONED) > 0)
        if not len(scorable):
            return None
        count = len(scorable) if self.num_answers is None else min(self.num_answers, len(scorable))
        drawn = np.sort(context.generator.permutation(scorable)[:count])
        asked = [reference(store, int(i), self.max_new_tokens) for i in drawn]
        model = cast("GenerativeModel", context.model)
        own = scatter(
            [a.prompt for a in asked],
            lambda prompts: answers_in_parts(
                prompts,
                lambda part: model.generate(part, self.max_new_tokens, self.temperature, seed),
                context.progress,
            ),
            together=isinstance(model, nn.Module) and is_sharded(model),
        )
        answers = [Answer(a.example, a.prompt, tokens) for a, tokens in zip(asked, own, strict=True)]
        generated = sum(len(a.tokens) for a in answers)
        prompts = sum(len(a.prompt) for a in answers)
        return Lesson(
            indices=drawn,
            features=references.of(context, drawn),
            targets=references.features.extract(answers, context.model, context.device),
            generated_tokens=generated,
            forward_tokens=prompts + references.features.forward_tokens(answers),
        )

    @override
    def loss(self, net: ScoringNet, lesson: Lesson, rows: Tensor) -> Tensor:
        return bradley_terry_loss(net(lesson.features[rows]), net(lesson.targets[rows]))

    @override
    def conclude(self, net: ScoringNet, lesson: Lesson) -> None:
        self._answered = torch.from_numpy(lesson.indices.copy())
        self._answer_scores = net(lesson.targets)
        self._ridge_mean = self._answer_scores.mean()
        self._ridge = ridge(lesson.features, self._answer_scores - self._ridge_mean, _RIDGE)

    @override
    def difficulty(self, net: ScoringNet, features: Tensor, indices: IntArray) -> Tensor:
        own_scores: Tensor = net(features)
        if self.kind == "reference":
            return -own_scores
        answers = features @ self._ridge + self._ridge_mean
        known = {int(i): k for k, i in enumerate(self._answered)}
        places = [(row, known[int(i)]) for row, i in enumerate(indices) if int(i) in known]
        if places:
            rows, found = torch.tensor(places).T
            answers[rows] = self._answer_scores[found]
        return own_scores - answers if self.kind == "gap" else -answers

    @override
    def state_dict(self) -> dict[str, Tensor]:
        state = {"answered": self._answered, "answer_scores": self._answer_scores, "ridge": self._ridge,
                 "ridge_mean": self._ridge_mean}  # fmt: skip
        return {name: value.clone() for name, value in state.items()}

    @override
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._answered, self._answer_scores = state["answered"].clone(), state["answer_scores"].clone()
        self._ridge, self._ridge_mean = state["ridge"].clone(), state["ridge_mean"].clone()


def ridge(features: Tensor, targets: Tensor, strength: float) -> Tensor:
    """Weights [D] that minimise ``|features w - targets|^2 + strength |w|^2``, by the smaller of two systems."""
    x, y = features.double(), targets.double()
    rows, columns = x.shape
    if rows < columns:
        solved = x.T @ torch.linalg.solve(x @ x.T + strength * torch.eye(rows, dtype=x.dtype), y)
    else:
        solved = torch.linalg.solve(x.T @ x + strength * torch.eye(columns, dtype=x.dtype), x.T @ y)
    weights: Tensor = solved.float()
    return weights
