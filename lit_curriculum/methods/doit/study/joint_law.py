"""Loss as a function of model size and volume together: two joint laws, fitted by scipy."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import least_squares

from lit_curriculum.methods.doit.study.sensitivity import Interval
from lit_curriculum.types import FloatArray

JointFamily = Literal["additive", "multiplicative"]

_NAMES = {
    "additive": ("floor", "size_scale", "size_exponent", "data_scale", "data_exponent"),
    "multiplicative": ("floor", "scale", "size_exponent", "data_exponent"),
}
_HUBER = 1e-3
"""Where residuals of log L begin to count linearly, as in Hoffmann et al."""
_MIN_LOSS = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class JointLaw:
    """Loss L in nats over N parameters and D rows (or tokens).

    ``additive``: L = E + A N^-alpha + B D^-beta. ``multiplicative``: L = E + A N^-alpha D^-beta.

    References:
        Additive: Hoffmann et al. 2022, arXiv 2203.15556, section 3.3. Multiplicative: Zhang et al. 2024, arXiv
        2402.17193, for fine-tuning.
    """

    family: JointFamily
    params: tuple[float, ...]
    """E, A, alpha, B, beta; or E, A, alpha, beta."""

    @property
    def named(self) -> dict[str, float]:
        """The parameters under their names."""
        return dict(zip(_NAMES[self.family], self.params, strict=True))

    def __call__(self, size: float, rows: float) -> float:
        """Predicted loss in nats."""
        return float(_loss(self.family, np.array(self.params), np.array([size]), np.array([rows]))[0])

    def gain_of_size(self, size: float, rows: float) -> float:
        """Predicted fall of the loss by a model of twice the size."""
        return self(size, rows) - self(2 * size, rows)

    def gain_of_data(self, size: float, rows: float) -> float:
        """Predicted fall of the loss by four times the rows."""
        return self(size, rows) - self(size, 4 * rows)


def _loss(family: JointFamily, q: FloatArray, size: FloatArray, rows: FloatArray) -> FloatArray:
    if family == "additive":
        values: FloatArray = q[0] + q[1] * size ** -q[2] + q[3] * rows ** -q[4]
    else:
        values = q[0] + q[1] * size ** -q[2] * rows ** -q[3]
    return values


def fit_joint_law(size: FloatArray, rows: FloatArray, loss: FloatArray, family: JointFamily = "additive") -> JointLaw:
    """The law of least Huber loss on the residuals of log L, over a grid of starts.

    Args:
        size: [C] parameters N of each cell's model.
        rows: [C] rows D that it was trained on.
        loss: [C] held-out loss in nats.
        family: Which law.

    Raises:
        ValueError: there are fewer cells than parameters, or size or rows do not vary.
    """
    _check(size, rows, loss, family)
    return _fitted(size, rows, loss, family, None)


def _fitted(
    size: FloatArray, rows: FloatArray, loss: FloatArray, family: JointFamily, near: JointLaw | None
) -> JointLaw:
    """The best fit over a grid of starts, or the one that is reached from a law near by."""
    # In units of the geometric mean the scales are of the size of the losses, whatever the model's.
    n0, d0 = float(np.exp(np.log(size).mean())), float(np.exp(np.log(rows).mean()))
    n, d, span = size / n0, rows / d0, max(float(np.ptp(loss)), 1e-3)
    starts = _starts(family, float(loss.min()), span)
    if near is not None:
        starts = [_in_units(family, np.array(near.params), 1 / n0, 1 / d0).tolist()]
    fits = [_fit(family, np.array(start), n, d, loss) for start in starts]
    best = _in_units(family, min(fits, key=lambda f: f[0])[1], n0, d0)
    return JointLaw(family=family, params=tuple(float(v) for v in best))


def _in_units(family: JointFamily, q: FloatArray, size: float, rows: float) -> FloatArray:
    """Parameters of a law over N / size and D / rows as those of the law over N and D."""
    out = q.copy()
    if family == "additive":
        out[1] *= size ** q[2]
        out[3] *= rows ** q[4]
    else:
        out[1] *= size ** q[2] * rows ** q[3]
    return out


def joint_intervals(
    law: JointLaw, size: FloatArray, rows: FloatArray, loss: FloatArray, num_resamples: int = 200, seed: int = 0
) -> dict[str, Interval]:
    """95 % bootstrap intervals of a law's parameters, over its cells.

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
            drawn.append(_fitted(size[chosen], rows[chosen], loss[chosen], law.family, law).params)
    low, high = np.percentile(np.array(drawn), [2.5, 97.5], axis=0)
    return {
        name: Interval(value=value, low=float(lo), high=float(hi))
        for name, value, lo, hi in zip(_NAMES[law.family], law.params, low, high, strict=True)
    }


def _check(size: FloatArray, rows: FloatArray, loss: FloatArray, family: JointFamily) -> None:
    needed = len(_NAMES[family])
    if len(loss) < needed:
        raise ValueError(f"the {family} law has {needed} parameters, but there are {len(loss)} cells; train more.")
    for name, values in (("model sizes", size), ("rungs", rows)):
        if len(np.unique(values)) < 2:
            raise ValueError(f"a joint law needs at least 2 {name}, but all cells have {values[0]:g}; train others.")


def _starts(family: JointFamily, lowest: float, span: float) -> list[list[float]]:
    exponents = list(itertools.product((0.1, 0.5), (0.1, 0.5)))
    floors = (0.0, 0.5 * lowest, 0.9 * lowest)
    if family == "additive":
        return [[e, span, a, span, b] for e in floors for a, b in exponents]
    return [[e, span, a, b] for e in floors for a, b in exponents]


def _fit(
    family: JointFamily, start: FloatArray, size: FloatArray, rows: FloatArray, loss: FloatArray
) -> tuple[float, FloatArray]:
    target = np.log(loss)

    def residuals(q: FloatArray) -> FloatArray:
        difference: FloatArray = np.log(np.maximum(_loss(family, q, size, rows), _MIN_LOSS)) - target
        return difference

    upper = [float(loss.min()), *([np.inf, 5.0] * 2 if family == "additive" else [np.inf, 5.0, 5.0])]
    found = least_squares(
        residuals, np.clip(start, 1e-9, np.array(upper)), bounds=(np.zeros(len(start)), upper), loss="huber",
        f_scale=_HUBER, x_scale="jac", max_nfev=2000,
    )  # fmt: skip
    return float(found.cost), np.array(found.x)
