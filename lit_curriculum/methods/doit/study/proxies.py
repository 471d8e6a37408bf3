"""Two features of an ability that may explain its growth: the project's own proxies.

The definitions of Complexity and Transference in the COLING 2025 version of the study are not available; what is here
carries its own names and claims nothing of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from lit_curriculum.methods.doit.study.sensitivity import Interval


def complexity_proxy(base_nll: float) -> float:
    """Project proxy of complexity: the mean loss of an ability's right answers before any tuning, nats per token.

    Raises:
        ValueError: it is not a finite number.
    """
    if not math.isfinite(base_nll):
        raise ValueError(f"the loss before tuning is {base_nll}; evaluate the model that training starts from first.")
    return base_nll


def transference_proxy(without: float, base: float, all_: float) -> float:
    """Project proxy of transference: the share of an ability's gain that training on all others already brings.

    Args:
        without: Score after training on all abilities but this one, s(all but a).
        base: Score before training.
        all_: Score after training on all.

    Returns:
        (without - base) / (all - base); NaN where training on all brings nothing.
    """
    return (without - base) / (all_ - base) if all_ != base else math.nan


def rank_correlation(
    slopes: Sequence[float], proxy: Sequence[float], num_resamples: int = 2000, seed: int = 0
) -> Interval:
    """Spearman correlation of S_D with a proxy over abilities, with its bootstrap interval: few points, so a wide one.

    Raises:
        ValueError: there are fewer than four abilities.
    """
    if len(slopes) < 4:
        raise ValueError(f"a rank correlation needs at least 4 abilities, got {len(slopes)}; measure more.")
    x, y = np.array(slopes), np.array(proxy)
    rng = np.random.default_rng(seed)
    drawn: list[float] = []
    while len(drawn) < num_resamples:
        rows = rng.integers(len(x), size=len(x))
        if np.ptp(x[rows]) > 0 and np.ptp(y[rows]) > 0:
            drawn.append(float(spearmanr(x[rows], y[rows]).statistic))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(value=float(spearmanr(x, y).statistic), low=float(low), high=float(high))
