"""Drift of scores from stage to stage, estimated from examples that were scored twice."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import hypergeom
from torch import Tensor

from lit_curriculum.types import BoolArray, FloatArray, IntArray

CERTAINTY = 0.95
"""Probability, over the draw of the sample, with which :func:`upper_error_bound` is not passed by."""


@dataclass(frozen=True, slots=True)
class AuditSample:
    """Candidates drawn for the audit of a stage, with their scores before it."""

    stage: int
    indices: IntArray
    """[n] examples drawn."""
    height: FloatArray
    """[n] their scores before, turned so that the highest are chosen."""
    ages: IntArray
    """[n] in stages."""
    population: int
    """How many they were drawn from, themselves included."""

    def figures(self, num_wrong: int, stage_size: int) -> dict[str, float]:
        """Scalars to log when ``num_wrong`` of the sample were on the wrong side of the cut."""
        count = len(self.indices)
        return {
            "refresh_checked": float(count),
            "refresh_measured_error": num_wrong / count,
            # More than all that are chosen cannot be wrong.
            "refresh_errors_at_most": float(min(upper_error_bound(num_wrong, count, self.population), stage_size)),
        }


def upper_error_bound(num_wrong: int, num_checked: int, population: int) -> int:
    """Upper confidence limit of the number of errors among the candidates that were not audited.

    Exact for a sample without replacement: the largest number under which so few wrong ones in the sample, or fewer,
    are not less likely than one in twenty.

    Args:
        num_wrong: Wrong ones in the sample.
        num_checked: Size of the sample, at least 1.
        population: How many it was drawn from.

    References:
        Clopper and Pearson 1934, "The use of confidence or fiducial limits", Biometrika 26, for the hypergeometric.
    """
    assert 0 <= num_wrong <= num_checked <= population
    assert num_checked > 0
    totals = range(num_wrong, population - num_checked + num_wrong + 1)

    def ruled_out(total: int) -> bool:
        return bool(hypergeom.cdf(num_wrong, population, total, num_checked) <= 1.0 - CERTAINTY)

    return bisect_left(totals, True, key=ruled_out) - 1


_POINTS = 257
_FEWEST = 20


@dataclass(frozen=True, slots=True)
class Drift:
    """Change of a score per unit (a stage, a training): the common shift and the spread around it."""

    shift: float
    """Median change per unit."""
    spread: FloatArray
    """[257] quantiles of ``|change per unit - shift|``, from 0 to 1; infinite where nothing is known."""

    @classmethod
    def unknown(cls) -> Drift:
        """Anything may have happened."""
        return cls(0.0, np.full(_POINTS, np.inf))

    @classmethod
    def learn(cls, changes: FloatArray) -> Drift | None:
        """Estimate from changes per unit [n]; none for fewer than 20."""
        if len(changes) < _FEWEST:
            return None
        shift = float(np.median(changes))
        return cls(shift, np.quantile(np.abs(changes - shift), np.linspace(0.0, 1.0, _POINTS)))

    def limit(self, confidence: float) -> float:
        """Quantile ``confidence`` of single deviations per unit."""
        if np.isinf(self.spread[-1]):
            return np.inf
        return float(np.interp(confidence, np.linspace(0.0, 1.0, _POINTS), self.spread))


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of the current scores of K examples."""

    expected: FloatArray
    """[K]."""
    low: FloatArray
    """[K]."""
    high: FloatArray
    """[K]."""

    def in_play(self, size: int) -> BoolArray:
        """Mask [K] of the examples for which the bounds do not decide whether they are among the ``size`` highest.

        Every value lies between its bounds, so the ``size``-th highest value lies between the ``size``-th highest
        lower bound and the ``size``-th highest upper bound; who is above or below both is decided.
        """
        if size >= len(self.low):
            return np.zeros(len(self.low), dtype=np.bool_)
        lowest, highest = kth_highest(self.low, size), kth_highest(self.high, size)
        undecided: BoolArray = (self.low <= highest) & (self.high >= lowest)
        return undecided

    def nearest(self, cut: float, among: BoolArray, count: int) -> BoolArray:
        """Mask [K] of the ``count`` examples of ``among`` [K] that are expected nearest to ``cut``."""
        order = np.argsort(np.where(among, np.abs(self.expected - cut), np.inf), kind="stable")
        found = np.zeros_like(among)
        found[order[:count]] = True
        return found


@dataclass(frozen=True, slots=True)
class DriftModel:
    """Drift of a score with every stage, and with every training on its example."""

    stage: Drift
    """Per stage."""
    training: Drift
    """Per training, besides what the stages do."""

    @classmethod
    def unknown(cls) -> DriftModel:
        """Anything may have happened."""
        return cls(Drift.unknown(), Drift.unknown())

    def learn(self, changes: FloatArray, ages: IntArray, trainings: IntArray) -> DriftModel:
        """Update from changes [n] over ``ages`` and ``trainings`` [n]; parts with too few changes stay as they are.

        Args:
            changes: New score minus old.
            ages: Stages in between, at least 1.
            trainings: Trainings on the example in between.
        """
        quiet = trainings == 0
        stage = Drift.learn(changes[quiet] / ages[quiet]) or self.stage
        more = changes[~quiet] - ages[~quiet] * stage.shift
        return DriftModel(stage, Drift.learn(more / trainings[~quiet]) or self.training)

    def bounds(self, scores: FloatArray, ages: IntArray, trainings: IntArray, confidence: float) -> Bounds:
        """Bounds of scores [K] after their drift.

        Args:
            scores: [K]; NaN where there is none, which may be anything.
            ages: [K] in stages.
            trainings: [K] since the score.
            confidence: Share of single deviations that counts as possible.
        """
        parts = ((self.stage, ages), (self.training, trainings))
        # None of either moves nothing, also where nothing is known of how far it might.
        width = np.stack([np.where(n > 0, np.maximum(n, 1) * d.limit(confidence), 0.0) for d, n in parts]).sum(axis=0)
        known = np.isfinite(scores)
        expected = np.where(known, scores + ages * self.stage.shift + trainings * self.training.shift, -np.inf)
        return Bounds(expected, np.where(known, expected - width, -np.inf), np.where(known, expected + width, np.inf))

    def state_dict(self) -> dict[str, Tensor]:
        """State of both parts, as tensors."""
        parts = (self.stage, self.training)
        return {
            "shift": torch.tensor([d.shift for d in parts], dtype=torch.float64),
            "spread": torch.from_numpy(np.stack([d.spread for d in parts])),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> DriftModel:
        """Restore :meth:`state_dict`."""
        pairs = zip(state["shift"], state["spread"], strict=True)
        return cls(*(Drift(float(shift), spread.numpy().copy()) for shift, spread in pairs))


def kth_highest(values: FloatArray, size: int) -> float:
    """The ``size``-th highest of ``values`` [N]."""
    return float(np.partition(values, len(values) - size)[len(values) - size])
