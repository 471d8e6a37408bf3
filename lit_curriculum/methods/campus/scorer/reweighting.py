"""Reweighting objective: an adversary that puts weight where the learner's loss is high."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from lit_curriculum.difficulty.learned import UpdateContext
from lit_curriculum.methods.campus.scorer.objective import Lesson, ReferenceFeatures, ScorerObjective, ScoringNet
from lit_curriculum.types import IntArray
from lit_curriculum.utils.options import check_range

Normalisation = Literal["softmax", "sigmoid"]
_ENTROPY = 1.0
"""Weight of the entropy of the weights, in standard deviations of the loss."""


def adversarial_loss(scores: Tensor, losses: Tensor, normalisation: Normalisation, entropy: float) -> Tensor:
    """Minus what the adversary maximises: ``mean_i w_i L_i + entropy * H(p)``.

    ``p`` [B] is a distribution over the batch: ``softmax(s)``, with weights ``w = B p``, or ``sigmoid(s) / sum``, with
    ``w = 1 + B p`` (adversarially reweighted learning, Lahoti et al. 2020, arXiv 2006.13114, equation 3). The entropy
    H(p) is our addition. With it the optimum under ``softmax`` is ``s = L / entropy`` and a constant: the
    learner's loss itself, where without it all weight goes to one example.

    Args:
        scores: [B] of the scorer.
        losses: [B] of the learner, constants.
        normalisation: How scores become weights.
        entropy: Weight of the entropy, in units of the losses.
    """
    if normalisation == "softmax":
        log_p = torch.log_softmax(scores, dim=0)
        floor = 0.0
    else:
        log_sigmoid = torch.nn.functional.logsigmoid(scores)
        log_p = log_sigmoid - torch.logsumexp(log_sigmoid, dim=0)
        floor = 1.0
    p = log_p.exp()
    weighted = (floor / len(losses) + p) @ losses
    return -(weighted - entropy * (p @ log_p))


class Reweighting(ScorerObjective):
    """Maximise the score-weighted loss of the learner, with weights that sum to a constant.

    The scorer thus learns to predict the loss from features, and one update on a few fresh losses scores all examples
    without a pass of the language model. Losses are centred and scaled by their standard deviation over the update.

    Args:
        normalisation: ``softmax`` or ``sigmoid``; see :func:`adversarial_loss`.
        num_losses: Fresh losses at least of an update; where the policy asks for fewer, others are measured too.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(self, normalisation: Normalisation = "softmax", num_losses: int = 256) -> None:
        check_range(self, "[0, inf)", num_losses=num_losses)
        self.normalisation: Normalisation = normalisation
        self.num_losses = num_losses

    @property
    @override
    def name(self) -> str:
        return f"reweighting-{self.normalisation}-{_ENTROPY:g}-{self.num_losses}"

    @override
    def extra_candidates(self, asked: IntArray, num_examples: int, generator: np.random.Generator) -> IntArray:
        rest = np.setdiff1d(np.arange(num_examples), asked)
        missing = min(max(self.num_losses - len(asked), 0), len(rest))
        return np.sort(generator.permutation(rest)[:missing])

    @override
    def collect(
        self, context: UpdateContext, references: ReferenceFeatures, fresh: IntArray, loss: str
    ) -> Lesson | None:
        if not len(fresh):
            return None
        losses = context.table.scores[loss][fresh]
        spread = float(losses.std())
        scaled = (losses - losses.mean()) / (spread if spread > 0 else 1.0)
        targets = torch.from_numpy(scaled.astype(np.float32))
        return Lesson(indices=fresh, features=references.of(context, fresh), targets=targets)

    @override
    def loss(self, net: ScoringNet, lesson: Lesson, rows: Tensor) -> Tensor:
        return adversarial_loss(
            net(lesson.features[rows]), lesson.targets[rows], self.normalisation, _ENTROPY
        )  # fmt: skip

    @override
    def difficulty(self, net: ScoringNet, features: Tensor, indices: IntArray) -> Tensor:
        del indices
        scores: Tensor = net(features)
        return scores
