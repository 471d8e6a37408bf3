"""Growth curves: four families, weighted fits by scipy and statsmodels, and the choice between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import statsmodels.api as sm
from scipy.optimize import least_squares
from scipy.stats import binom

from lit_curriculum.types import FloatArray

Family = Literal["log_linear", "power", "logistic", "rectified_loss"]

_SMALL = 1e-6
AICC_MARGIN = 4.0
"""How much lower the AICc of a richer family has to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A fitted curve over n, the rows of an ability."""

    family: Family
    params: tuple[float, ...]
    chance: float
    aicc: float
    """Corrected Akaike criterion on the binomial likelihood; NaN for losses and for too few rungs."""

    def __call__(self, n: float) -> float:
        """Predicted score p in [0, 1], or loss in nats."""
        return float(_CURVES[self.family](np.array([n], dtype=float), self.params, self.chance)[0])

    def gain(self, n: float) -> float:
        """Predicted change by one more quadrupling."""
        return self(4 * n) - self(n)


def _log_linear(n: FloatArray, params: Sequence[float], chance: float) -> FloatArray:
    kappa = params[0] + params[1] * np.log(n) / math.log(4)
    return chance + (1 - chance) * kappa


def _power(n: FloatArray, params: Sequence[float], chance: float) -> FloatArray:
    top, amplitude, alpha, known = params
    values: FloatArray = top - amplitude * (n + known) ** -alpha
    return values


def _logistic(n: FloatArray, params: Sequence[float], chance: float) -> FloatArray:
    upper, rate, onset = params
    x = np.log(n) / math.log(4)
    values: FloatArray = chance + (upper - chance) / (1 + np.exp(np.clip(-rate * (x - onset), -500, 500)))
    return values


def _rectified(n: FloatArray, params: Sequence[float], chance: float) -> FloatArray:
    scale, known, beta, floor = params
    values: FloatArray = scale / (known + n**beta) + floor
    return values


_CURVES: dict[str, Callable[[FloatArray, Sequence[float], float], FloatArray]] = {
    "log_linear": _log_linear,
    "power": _power,
    "logistic": _logistic,
    "rectified_loss": _rectified,
}


def _aicc(p: FloatArray, correct: FloatArray, total: FloatArray, num_params: int) -> float:
    """-2 log L + 2k + 2k(k + 1)/(m - k - 1) over m rungs; infinite where there are too few rungs."""
    if len(p) - num_params - 1 < 1:
        return math.inf
    fitted = np.clip(p, _SMALL, 1 - _SMALL)
    likelihood = float(np.sum(binom.logpmf(correct, total, fitted)))
    return -2 * likelihood + 2 * num_params + 2 * num_params * (num_params + 1) / (len(p) - num_params - 1)


def fit_log_linear(n: FloatArray, correct: FloatArray, total: FloatArray, chance: float) -> Curve:
    """kappa = a + b log4 n by weighted least squares; b is the gain per quadrupling.

    Args:
        n: [R] rows of the rungs.
        correct: [R] items answered exactly.
        total: [R] items.
        chance: Mean chance c of the items, below 1.
    """
    p = correct / total
    weights = total / (p * (1 - p) + 1 / (total + 2))
    x = sm.add_constant(np.log(n) / math.log(4), has_constant="add")
    result = sm.WLS((p - chance) / (1 - chance), x, weights=weights).fit()
    params = tuple(float(v) for v in result.params)
    return Curve(
        family="log_linear",
        params=params,
        chance=chance,
        aicc=_aicc(_log_linear(n, params, chance), correct, total, 2),
    )


def fit_power(n: FloatArray, correct: FloatArray, total: FloatArray, chance: float) -> Curve:
    """p = p_inf - A (n + n0)^-alpha with A, alpha, n0 at or above 0 and p_inf at most 1; see :func:`fit_log_linear`."""
    starts = [(min(1.0, float((correct / total).max()) + 0.05), 0.5, a, n0) for a in (0.2, 1.0) for n0 in (0.0, 10.0)]
    bounds = ([0.0, 0.0, 1e-3, 0.0], [1.0, 50.0, 5.0, float(n.max())])
    params = _best(_power, starts, bounds, n, correct, total, chance)
    return Curve(
        family="power", params=params, chance=chance, aicc=_aicc(_power(n, params, chance), correct, total, 4)
    )  # fmt: skip


def fit_logistic(n: FloatArray, correct: FloatArray, total: FloatArray, chance: float) -> Curve:
    """p = c + (u - c)/(1 + exp(-k (log4 n - x0))); for five rungs or more; see :func:`fit_log_linear`."""
    x = np.log(n) / math.log(4)
    top = min(1.0, max(float((correct / total).max()), chance + 0.05))
    starts = [(top, k, float(o)) for k in (0.5, 2.0) for o in np.quantile(x, [0.25, 0.5, 0.75])]
    bounds = ([chance, 0.0, float(x.min()) - 3], [1.0 + _SMALL, 10.0, float(x.max()) + 3])
    params = _best(_logistic, starts, bounds, n, correct, total, chance)
    return Curve(
        family="logistic", params=params, chance=chance, aicc=_aicc(_logistic(n, params, chance), correct, total, 3)
    )  # fmt: skip


def _best(
    curve: Callable[[FloatArray, Sequence[float], float], FloatArray],
    starts: Sequence[Sequence[float]],
    bounds: tuple[list[float], list[float]],
    n: FloatArray,
    correct: FloatArray,
    total: FloatArray,
    chance: float,
) -> tuple[float, ...]:
    """The weighted least-squares fit with the lowest cost over several starts."""
    p = correct / total
    scale = np.sqrt(total / (p * (1 - p) + 1 / (total + 2)))
    low, high = np.array(bounds[0]), np.array(bounds[1])

    def residuals(q: FloatArray) -> FloatArray:
        return scale * (curve(n, q.tolist(), chance) - p)

    fits = [least_squares(residuals, np.clip(start, low + 1e-9, high - 1e-9), bounds=(low, high)) for start in starts]
    return tuple(float(v) for v in min(fits, key=lambda f: float(f.cost)).x)


def fit_score(n: FloatArray, correct: FloatArray, total: FloatArray, chance: float) -> Curve:
    """The log-linear curve, unless another's AICc is lower by more than 4; arguments as :func:`fit_log_linear`."""
    simple = fit_log_linear(n, correct, total, chance)
    if len(n) < 5 or not math.isfinite(simple.aicc):
        return simple
    richer = min((fit_logistic(n, correct, total, chance), fit_power(n, correct, total, chance)), key=lambda c: c.aicc)
    return richer if richer.aicc < simple.aicc - AICC_MARGIN else simple


def fit_loss(n: FloatArray, loss: FloatArray) -> Curve:
    """Rectified law L = B/(D0 + n^beta) + E on losses [R] in nats at R rungs.

    References:
        Lin et al. 2024, "Selecting Large Language Model to Fine-tune via Rectified Scaling Law".
    """
    floor = float(loss.min())

    def residuals(q: FloatArray) -> FloatArray:
        return _rectified(n, q.tolist(), 0.0) - loss

    fits = []
    for beta in (0.3, 1.0):
        for known in (0.0, 5.0):
            start = np.clip([max(float(np.ptp(loss)), 0.01) * (1 + known), known, beta, 0.9 * floor], 1e-9, None)
            fits.append(least_squares(residuals, start, bounds=([0.0, 0.0, 1e-3, 0.0], [np.inf, np.inf, 5.0, np.inf])))
    params = tuple(float(v) for v in min(fits, key=lambda f: float(f.cost)).x)
    return Curve(family="rectified_loss", params=params, chance=0.0, aicc=math.nan)


def saturation(curve: Curve, epsilon: float, rungs: FloatArray) -> float | None:
    """Smallest n of a fine grid over the rungs from which on one more quadrupling gains less than ``epsilon``.

    A curve that is flat at first and rises later has not saturated at its start. None where the last rung still gains.
    """
    found = None
    for n in np.geomspace(float(rungs.min()), float(rungs.max()), 200)[::-1]:
        if curve.gain(float(n)) >= epsilon:
            break
        found = float(n)
    return found
