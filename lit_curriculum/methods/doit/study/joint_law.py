"""Joint law of loss over model size and data volume, fitted with scipy."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from lit_curriculum.methods.doit.study.sensitivity import Interval
from lit_curriculum.types import FloatArray

_NAMES = ("floor", "size_scale", "size_exponent", "data_scale", "data_exponent")
_HUBER = 1e-3
"""Where residuals of log L begin to count linearly, as in Hoffmann et al."""
_MIN_LOSS = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class JointLaw:
    """Loss L in nats over N parameters and D rows (or tokens): L = E + A N^-alpha + B D^-beta.

    References:
        Hoffmann et al. 2022, arXiv 2203.15556, section 3.3.
    """

    params: tuple[float, ...]
    """E, A, alpha, B, beta."""

    @property
    def named(self) -> dict[str, float]:
        """The parameters under their names."""
        return dict(zip(_NAMES, self.params, strict=True))

    def __call__(self, size: float, rows: float) -> float:
        """Predicted loss in nats."""
        return float(_loss(np.array(self.params), np.array([size]), np.array([rows]))[0])


def _loss(q: FloatArray, size: FloatArray, rows: FloatArray) -> FloatArray:
    values: FloatArray = q[0] + q[1] * size ** -q[2] + q[3] * rows ** -q[4]
    return values


def fit_joint_law(size: FloatArray, rows: FloatArray, loss: FloatArray) -> JointLaw:
    """Fit the law with the least Huber loss on the residuals of log L, over a grid of starts.

    Args:
        size: [C] parameters N of each cell's model.
        rows: [C] rows D that it was trained on.
        loss: [C] held-out loss in nats.

    Raises:
        ValueError: there are fewer cells than parameters, or size or rows do not vary.
    """
    if len(loss) < len(_NAMES):
        raise ValueError(f"the joint law has {len(_NAMES)} parameters, but there are {len(loss)} cells; train more.")
    for name, values in (("model sizes", size), ("rungs", rows)):
        if len(np.unique(values)) < 2:
            raise ValueError(f"a joint law needs at least 2 {name}, but all cells have {values[0]:g}; train others.")
    return _fitted(size, rows, loss, None)


def joint_intervals(
    law: JointLaw, size: FloatArray, rows: FloatArray, loss: FloatArray, num_resamples: int = 200, seed: int = 0
) -> dict[str, Interval]:
    """Bootstrap 95 % intervals of a law's parameters over its cells.

    Args:
        law: Fitted to all of them.
        size: [C] as in :func:`fit_joint_law`.
        rows: [C].
        loss: [C].
        num_resamples: Times that C cells are drawn with replacement; draws in which size or rows do not vary enough
            are drawn again.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    drawn: list[tuple[float, ...]] = []
    while len(drawn) < num_resamples:
        chosen = rng.integers(len(loss), size=len(loss))
        if len(np.unique(size[chosen])) > 1 and len(np.unique(rows[chosen])) > 1:
            drawn.append(_fitted(size[chosen], rows[chosen], loss[chosen], law).params)
    low, high = np.percentile(np.array(drawn), [2.5, 97.5], axis=0)
    return {
        name: Interval(value=value, low=float(lo), high=float(hi))
        for name, value, lo, hi in zip(_NAMES, law.params, low, high, strict=True)
    }


def _fitted(size: FloatArray, rows: FloatArray, loss: FloatArray, near: JointLaw | None) -> JointLaw:
    """The best fit over a grid of starts, or the one that is reached from a law near by."""
    # In units of the geometric mean the scales are of the size of the losses, whatever the model's.
    n0, d0 = float(np.exp(np.log(size).mean())), float(np.exp(np.log(rows).mean()))
    n, d, span = size / n0, rows / d0, max(float(np.ptp(loss)), 1e-3)
    if near is None:
        floors = (0.0, 0.5 * float(loss.min()), 0.9 * float(loss.min()))
        exponents = list(itertools.product((0.1, 0.5), (0.1, 0.5)))
        starts = [[e, span, a, span, b] for e in floors for a, b in exponents]
    else:
        starts = [_in_units(np.array(near.params), 1 / n0, 1 / d0).tolist()]
    fits = [_fit(np.array(start), n, d, loss) for start in starts]
    best = _in_units(min(fits, key=lambda f: f[0])[1], n0, d0)
    return JointLaw(params=tuple(float(v) for v in best))


def _in_units(q: FloatArray, size: float, rows: float) -> FloatArray:
    """Parameters of a law over N / size and D / rows as those of the law over N and D."""
    out = q.copy()
    out[1] *= size ** q[2]
    out[3] *= rows ** q[4]
    return out


def _fit(start: FloatArray, size: FloatArray, rows: FloatArray, loss: FloatArray) -> tuple[float, FloatArray]:
    target = np.log(loss)

    def residuals(q: FloatArray) -> FloatArray:
        difference: FloatArray = np.log(np.maximum(_loss(q, size, rows), _MIN_LOSS)) - target
        return difference

    upper = [float(loss.min()), np.inf, 5.0, np.inf, 5.0]
    found = least_squares(
        residuals, np.clip(start, 1e-9, np.array(upper)), bounds=(np.zeros(len(start)), upper), loss="huber",
        f_scale=_HUBER, x_scale="jac", max_nfev=2000,
    )  # fmt: skip
    return float(found.cost), np.array(found.x)
