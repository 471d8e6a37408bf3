"""Learned scorer of CAMPUS as a difficulty metric."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from typing_extensions import override

from lit_curriculum.difficulty.learned import LearnedMetric, TimedScores, UpdateContext, UpdateCost
from lit_curriculum.methods.campus.scorer.features import HashedNgrams, ScorerFeatures
from lit_curriculum.methods.campus.scorer.objective import (
    BATCH_SIZE,
    LEARNING_RATE,
    WEIGHT_DECAY,
    ReferenceFeatures,
    ScorerObjective,
    ScoringNet,
    train_net,
)
from lit_curriculum.methods.campus.scorer.reweighting import Reweighting
from lit_curriculum.types import CONDITIONED, FloatArray, IntArray
from lit_curriculum.utils.options import check_range

_CHUNK = 4096
_VERSION = 1


class LearnedScorer(LearnedMetric):
    """Train a small net to predict how hard an example is for the model in training, warm-started at every refresh.

    CAMPUS (arXiv 2509.13790) has a scoring model that is learned, adversarial and follows the model's competence, but
    its construction is not published. This construction is ours, and results that rest on it have to say so. Every
    update reports the rank correlation (Spearman) with the true loss over the examples whose loss is fresh:
    ``agreement_before`` of the previous scorer, which has not seen these losses, and ``agreement``. Where features cost
    a pass of the model, an example's reference makes it once a refresh. Several processes share that pass and the
    model's own answers, unless the weights are sharded.

    Args:
        objective: What it learns; by default :class:`Reweighting`.
        features: What it sees of an example; by default :class:`HashedNgrams`.
        loss: Name of the metric in the table that holds the learner's mean token loss.
        hidden: Units of the hidden layer; 0 is a linear net.
        steps: Adam steps of one update.
        update_every: Stages from one update to the next (K); the first is before stage 0.

    Raises:
        ValueError: an option is out of range, or the features cannot see the model's own answers.
    """

    unit = "score"

    def __init__(
        self,
        objective: ScorerObjective | None = None,
        features: ScorerFeatures | None = None,
        loss: str = "loss",
        hidden: int = 0,
        steps: int = 200,
        update_every: int = 1,
    ) -> None:
        check_range(self, "[0, inf)", hidden=hidden)
        check_range(self, "[1, inf)", steps=steps, update_every=update_every)
        self.objective = Reweighting() if objective is None else objective
        self.features = HashedNgrams() if features is None else features
        if self.objective.needs_answers and not self.features.knows_tokens:
            raise ValueError(
                f"the objective {type(self.objective).__name__} of the learned scorer compares answers of the model, "
                f"which are tokens, but {type(self.features).__name__} reads text alone; use HashedNgrams or "
                "HiddenStates."
            )
        self.loss = loss
        self.hidden, self.steps, self.update_every = hidden, steps, update_every
        self._net: ScoringNet | None = None
        self._references = ReferenceFeatures(self.features, self.objective.max_reference_tokens)

    @property
    @override
    def formula(self) -> str:
        net = f"hidden={self.hidden},steps={self.steps}x{BATCH_SIZE},lr={LEARNING_RATE:g}"
        rest = f"decay={WEIGHT_DECAY:g},every={self.update_every},age=0,loss={self.loss}"
        return f"learned/2({self.objective.name},{self.features.name},{net},{rest})"

    @property
    @override
    def required_metrics(self) -> tuple[str, ...]:
        return (self.loss,)

    @property
    @override
    def model_methods(self) -> tuple[str, ...]:
        return (*self.objective.model_methods, *self.features.model_methods)

    @override
    def is_due(self, stage: int) -> bool:
        return stage % self.update_every == 0

    @override
    def extra_candidates(
        self, asked: IntArray, num_examples: int, stage: int, generator: np.random.Generator
    ) -> IntArray:
        return self.objective.extra_candidates(asked, num_examples, generator) if self.is_due(stage) else asked[:0]

    @override
    def update(self, context: UpdateContext) -> UpdateCost:
        started = time.perf_counter()
        # The model has moved since the last refresh.
        self._references = ReferenceFeatures(self.features, self.objective.max_reference_tokens)
        table, generator = context.table, context.generator
        fresh = np.flatnonzero(np.isfinite(table.scores[self.loss]) & (table.scored_at[self.loss] >= context.stage))
        scalars = {"fresh_losses": float(len(fresh))}
        if self._net is not None:
            scalars["agreement_before"] = self._agreement(context, fresh)
        lesson = self.objective.collect(context, self._references, fresh, self.loss)
        if lesson is None:
            if self._net is None:
                raise ValueError(
                    f"the learned scorer has nothing to learn from before stage {context.stage}: no loss under "
                    f"{self.loss!r} is fresh; let the policy ask for some, or raise objective.num_losses."
                )
            forward = self._references.forward_tokens
            return UpdateCost(seconds=time.perf_counter() - started, forward_tokens=forward, scalars=scalars)
        if self._net is None:
            self._net = ScoringNet(lesson.features.shape[1], self.hidden, generator)
        net = self._net
        scalars["objective"] = train_net(
            net, lambda rows: self.objective.loss(net, lesson, rows), len(lesson.indices), self.steps, generator
        )
        with torch.no_grad():
            self.objective.conclude(net, lesson)
        scalars["agreement"] = self._agreement(context, fresh)
        return UpdateCost(
            seconds=time.perf_counter() - started,
            generated_tokens=lesson.generated_tokens,
            forward_tokens=lesson.forward_tokens + self._references.forward_tokens,
            scalars={name: value for name, value in scalars.items() if np.isfinite(value)},
        )

    @override
    def score(self, context: UpdateContext, indices: IntArray) -> FloatArray:
        found = np.empty(len(indices))
        for start in range(0, len(indices), _CHUNK):
            part = indices[start : start + _CHUNK]
            found[start : start + _CHUNK] = self._score(context, part, keep=False)
        found[context.store.num_scored(CONDITIONED)[indices] == 0] = np.nan
        return found

    @override
    def timed_score(self, context: UpdateContext, indices: IntArray) -> TimedScores:
        before = self._references.forward_tokens
        timed = super().timed_score(context, indices)
        return timed._replace(forward_tokens=self._references.forward_tokens - before)

    @override
    def state_dict(self) -> dict[str, Any]:
        net = {} if self._net is None else {n: v.clone() for n, v in self._net.state_dict().items()}
        width = 0 if self._net is None else self._net.width
        return {"version": _VERSION, "width": width, "net": net, "objective": self.objective.state_dict()}

    @override
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["version"] != _VERSION:
            raise ValueError(f"learned scorer of version {state['version']} cannot be read; expected {_VERSION}.")
        self._net = None
        if state["net"]:
            self._net = ScoringNet(state["width"], self.hidden, np.random.default_rng(0))
            self._net.load_state_dict(state["net"])
        self.objective.load_state_dict(state["objective"])

    def _score(self, context: UpdateContext, indices: IntArray, keep: bool = True) -> FloatArray:
        assert self._net is not None, "an update comes before scores"
        vectors = self._references.of(context, indices, keep)
        with torch.no_grad():
            scores: FloatArray = self.objective.difficulty(self._net, vectors, indices).double().numpy()
        return scores

    def _agreement(self, context: UpdateContext, indices: IntArray) -> float:
        """Rank correlation with the fresh losses; NaN where either does not vary."""
        losses = context.table.scores[self.loss][indices]
        if len(indices) < 3 or np.ptp(losses) == 0:
            return float("nan")
        scores = self._score(context, indices)
        return float("nan") if np.ptp(scores) == 0 else float(spearmanr(scores, losses).statistic)
