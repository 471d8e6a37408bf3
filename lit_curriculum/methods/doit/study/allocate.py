"""From growth curves to a mixture: marginal gains over what the fits say, under doubt where there is any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from lit_curriculum.curriculum.quotas import recipe_counts, water_fill
from lit_curriculum.methods.doit.allocation import allocate
from lit_curriculum.methods.doit.study.sensitivity import AbilityGrowth
from lit_curriculum.types import FloatArray

__all__ = ["allocate", "allocate_by_growth", "concave_envelope", "recipe_counts", "water_fill"]

FLOOR = 64
"""Rows that every ability gets by default, undetermined ones above all."""


def concave_envelope(rungs: Sequence[float], scores: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    """The corners of the smallest concave curve above the points, from their left to their right end.

    A curve that accelerates would stop a greedy allocation before it pays; on its envelope greedy is optimal up to
    one ability that may end inside a chord.

    Args:
        rungs: [R] rising.
        scores: [R].
    """
    corners: list[tuple[float, float]] = []
    for x, y in zip(rungs, scores, strict=True):
        while len(corners) > 1:
            (x1, y1), (x2, y2) = corners[-2:]
            if (y2 - y1) * (x - x2) > (y - y2) * (x2 - x1):
                break
            corners.pop()
        corners.append((float(x), float(y)))
    return np.array([c[0] for c in corners]), np.array([c[1] for c in corners])


def allocate_by_growth(
    found: Sequence[AbilityGrowth],
    budget: int,
    caps: Mapping[str, int],
    floor: int = FLOOR,
    weights: Mapping[str, float] | None = None,
    chunk: int = 16,
    attitude: str = "expected",
    generator: np.random.Generator | None = None,
) -> dict[str, int]:
    """Share out a budget by the measured means of every rung, on their concave envelope in rows.

    Args:
        found: One entry an ability, of one arm and size.
        budget: Rows in all.
        caps: Rows that there are of each ability.
        floor: Rows at least of each ability, or all it has.
        weights: Worth of a point of each ability.
        chunk: Rows given at a time.
        attitude: ``expected``: the means; ``pessimistic``: every curve is scaled by the lower bound of its slope over
            the slope, so that one whose slope may be zero gets its floor until all others are full; ``exploring``:
            scaled by a draw of the slope, normal with the width of its interval.
        generator: For ``exploring``.

    Raises:
        ValueError: an ability has more than one entry, or the attitude is none of the three.
    """
    names = [a.ability for a in found]
    if len(set(names)) < len(names):
        raise ValueError(f"abilities {sorted(names)} are not all different; give the fits of one arm and size.")
    if attitude not in ("expected", "pessimistic", "exploring"):
        raise ValueError(f"attitude must be expected, pessimistic or exploring, got {attitude!r}.")
    curves = {}
    for a in found:
        scale = 1.0
        if attitude == "pessimistic":
            scale = max(a.slope.low, 0.0) / a.slope.value if a.slope.value > 0 else 0.0
        elif attitude == "exploring":
            assert generator is not None, "exploring draws from a generator"
            drawn = generator.normal(a.slope.value, (a.slope.high - a.slope.low) / 3.92)
            scale = max(float(drawn), 0.0) / a.slope.value if a.slope.value > 0 else 0.0
        sign = 1.0 if a.measure == "score" else -1.0
        x, y = concave_envelope(a.rungs, [sign * m.value for m in a.means])
        curves[a.ability] = partial(_on_envelope, x, scale * y)
    floors = {a: min(floor, caps[a]) for a in names}
    return allocate(curves, budget, floors, {a: caps[a] for a in names}, weights, chunk)


def _on_envelope(x: FloatArray, y: FloatArray, n: float) -> float:
    """Linear between corners, flat beyond the last: nothing is promised where nothing was measured."""
    return float(np.interp(n, x, y))
