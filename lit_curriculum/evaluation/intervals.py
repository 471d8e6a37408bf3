"""Intervals of a share of right items, and of any mean over items."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from lit_curriculum.types import FloatArray


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


def wilson_interval(num_correct: int, num_items: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; it keeps within [0, 1] and is sound for few items.

    References:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    found = stats.binomtest(num_correct, num_items).proportion_ci(confidence, method="wilson")
    return Interval(float(found.low), float(found.high))


def mean_interval(values: FloatArray, confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of the mean over items.

    Args:
        values: [N] one number an item.
        confidence: Share of the resamples' means within the interval.
        resamples: How many times N items are drawn with replacement.
        seed: Of the draws.
    """
    if len(values) < 2 or float(np.ptp(values)) == 0.0:
        return Interval(float(np.min(values)), float(np.max(values)))
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=resamples, confidence_level=confidence, method="percentile", vectorized=True,
        rng=np.random.default_rng(seed), batch=max(1, 4_000_000 // len(values)),
    ).confidence_interval  # fmt: skip
    return Interval(float(found.low), float(found.high))


def score_interval(values: FloatArray, confidence: float = 0.95) -> Interval:
    """Wilson's interval of ``values`` [N] where every item is right or wrong, else the bootstrap of the mean."""
    if np.isin(values, (0.0, 1.0)).all():
        return wilson_interval(int(values.sum()), len(values), confidence)
    return mean_interval(values, confidence)
