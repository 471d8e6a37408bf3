"""SuperLoss: every example is trained on, with a weight that says how far its loss is to be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import lambertw

from lit_curriculum.curriculum.training_loss import LossSource, TrainingLossPolicy
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import FloatArray, Plan

_OWNER = "curriculum.policy"


class SuperLossPolicy(TrainingLossPolicy):
    """All examples in every stage, in random order, weighted by the confidence that minimises SuperLoss.

    SuperLoss of a loss l is min over sigma of (l - tau) sigma + lambda log(sigma)^2. Its minimiser is

        sigma = exp(-W(max(-2 / e, (l - tau) / lambda) / 2)),

    W being Lambert's function, and its gradient is sigma times that of l. So easy examples weigh up to e, and hard ones
    less the harder they are. Here l is the loss in the table, at most a stage old with ``losses: training``, where the
    paper takes that of the batch; an example without a loss weighs 1. Weights are meant as they are
    (``model.weighting: absolute``).

    Args:
        metric: Name of the loss, or of another metric that is harder where it is higher.
        strength: lambda: the smaller, the further weights are from 1.
        threshold: tau in the unit of the loss; null for the mean of all known losses.
        losses: ``training`` or ``refresh``: whether losses are those of training or computed before every stage.

    Raises:
        ValueError: an option is out of range.

    References:
        Castells et al. 2020, "SuperLoss: A Generic Loss for Robust Curriculum Learning".
    """

    def __init__(
        self,
        metric: str = "loss",
        strength: float = 1.0,
        threshold: float | None = None,
        losses: LossSource = "training",
    ) -> None:
        super().__init__(metric, losses)
        if not strength > 0.0:
            raise ValueError(f"{_OWNER}.strength must be above 0, got {strength}.")
        self.strength, self.threshold = strength, threshold

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        return [num_examples] * num_stages

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        losses = self.known_losses(table, stage)
        known = np.isfinite(losses)
        weights = np.ones(len(losses))
        threshold = self.threshold
        if known.any():
            threshold = float(losses[known].mean()) if threshold is None else threshold
            weights[known] = confidence(losses[known], threshold, self.strength)
        scalars = {"threshold": threshold or 0.0, "mean_weight": float(weights.mean())}
        order = generator.permutation(self._by_content)
        return Plan(indices=order, weights=weights[order].astype(np.float32), scalars=scalars)


def confidence(losses: FloatArray, threshold: float, strength: float) -> FloatArray:
    """[K] weights sigma of losses [K]; ``threshold`` is tau, ``strength`` is lambda."""
    # Next to -1/e, where its slope is infinite, W of the rounded argument would come out complex or NaN.
    argument = np.maximum(-2.0 / np.e, (losses - threshold) / strength) / 2.0
    argument = np.maximum(argument, np.nextafter(-1.0 / np.e, 0.0))
    weights: FloatArray = np.exp(-np.real(lambertw(argument)))  # type: ignore[call-overload]
    return weights
