"""Loss-based weights: all examples are trained on, weighted by their difficulty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.special import lambertw, softmax

from lit_curriculum.curriculum.base import OWNER
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.single_metric import LossSource, TrainingLossPolicy
from lit_curriculum.types import FloatArray, Plan
from lit_curriculum.utils.options import check_range

Rule = Literal["super_loss", "linupper", "uniform", "quadratic", "extremes"]


class LossWeightingPolicy(TrainingLossPolicy):
    """Train on all examples at every stage, in random order, with weights from their losses l.

    ``super_loss``: SuperLoss is min over sigma of (l - tau) sigma + lambda log(sigma)^2, whose minimiser is

        sigma = exp(-W(max(-2 / e, (l - tau) / lambda) / 2)),

    W being Lambert's function, and whose gradient is sigma times that of l. So easy examples weigh up to e, and hard
    ones less the harder they are.

    The others map the K known losses to z in [-1, 1], the lowest to -1 and the highest to 1, and weigh by
    K softmax(h(z) / r): ``linupper`` h = min(z + 1, 1), ``uniform`` h = z, ``quadratic`` h = 1 - z^2, ``extremes``
    h = ``|z|``. Their weights are 1 in the mean.

    The losses are those in the table, at most a stage old with ``losses: training``, where both papers take those of
    the batch; an example without a loss weighs 1. Weights are meant as they are (``model.weighting: absolute``).

    Args:
        metric: Name of the loss, or of another metric that is harder where it is higher.
        rule: How losses become weights.
        strength: lambda of ``super_loss``, or r of the others: the smaller, the further weights are from 1.
        threshold: tau of ``super_loss``, in the unit of the loss; null for the mean of all known losses.
        losses: ``training`` or ``refresh``: whether losses are those of training or computed before every stage.

    Raises:
        ValueError: an option is out of range.

    References:
        Castells et al. 2020, "SuperLoss: A Generic Loss for Robust Curriculum Learning"; Sow et al. 2025, "Dynamic
        Loss-Based Sample Reweighting for Improved Large Language Model Pretraining", arXiv 2502.06733 (with its delta
        of 1).
    """

    def __init__(
        self,
        metric: str = "loss",
        rule: Rule = "super_loss",
        strength: float = 1.0,
        threshold: float | None = None,
        losses: LossSource = "training",
    ) -> None:
        super().__init__(metric, losses)
        check_range(self, "(0, inf)", strength=strength)
        if threshold is not None and rule != "super_loss":
            raise ValueError(f"{OWNER}.threshold is of rule=super_loss; {rule} has none.")
        self.rule: Rule = rule
        self.strength, self.threshold = strength, threshold

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        return [num_examples] * num_stages

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        losses = self.known_losses(table, stage)
        known = np.isfinite(losses)
        weights = np.ones(len(losses))
        if known.any():
            weights[known] = self.weigh(losses[known])
        scalars = {"mean_weight": float(weights.mean()), "largest_weight": float(weights.max())}
        order = generator.permutation(self._by_content)
        return Plan(indices=order, weights=weights[order].astype(np.float32), scalars=scalars)

    def weigh(self, losses: FloatArray) -> FloatArray:
        """Weights [K] from losses [K]."""
        if self.rule != "super_loss":
            return relative_weights(losses, self.rule, self.strength)
        threshold = float(losses.mean()) if self.threshold is None else self.threshold
        return confidence(losses, threshold, self.strength)


def confidence(losses: FloatArray, threshold: float, strength: float) -> FloatArray:
    """Weights sigma [K] of SuperLoss from losses [K]; ``threshold`` is tau, ``strength`` is lambda."""
    # Next to -1/e, where its slope is infinite, W of the rounded argument would come out complex or NaN.
    argument = np.maximum(-2.0 / np.e, (losses - threshold) / strength) / 2.0
    argument = np.maximum(argument, np.nextafter(-1.0 / np.e, 0.0))
    weights: FloatArray = np.exp(-np.real(lambertw(argument)))  # type: ignore[call-overload]
    return weights


def relative_weights(losses: FloatArray, rule: Rule, strength: float) -> FloatArray:
    """[K] weights of mean 1 of losses [K] by their place between the lowest and the highest; ``strength`` is r."""
    low, high = float(losses.min()), float(losses.max())
    if high == low:
        return np.ones(len(losses))
    place = (2.0 * losses - high - low) / (high - low)
    shapes = {
        "linupper": np.minimum(place + 1.0, 1.0),
        "uniform": place,
        "quadratic": 1.0 - place**2,
        "extremes": np.abs(place),
    }
    weights: FloatArray = len(losses) * softmax(shapes[rule] / strength)
    return weights
