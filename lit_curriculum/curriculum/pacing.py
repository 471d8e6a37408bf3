"""Pacing: which share of an easy-to-hard order is in scope at a step, and the bands that successive scopes cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np

from lit_curriculum.types import FloatArray

PacingIndex = Literal["literal", "shifted"]


def root_competence(progress: FloatArray, initial: float, power: float) -> FloatArray:
    """Share of the easiest data in scope, c = min(1, (u (1 - c0^p) + c0^p)^(1/p)).

    Args:
        progress: [K] how much of the curriculum's duration is over (u = t / T); above 1 the scope stays whole.
        initial: Share in scope at the start (c0).
        power: Degree of the root (p); 1 is linear, 2 the square root.

    Returns:
        [K] shares in (0, 1].

    References:
        Platanios et al. 2019, "Competence-based Curriculum Learning for Neural Machine Translation", arXiv 1903.09848.
    """
    start = initial**power
    scope: FloatArray = np.minimum(1.0, (progress * (1.0 - start) + start) ** (1.0 / power))
    return scope


def scopes(num_bands: int, initial: float = 0.01, power: float = 2.0, index: PacingIndex = "literal") -> FloatArray:
    """Scopes s(1) to s(T) of CAMPUS, [num_bands]; the last is 1.

    ``literal`` sets s(1) = s1 and takes u = t / T from t = 2 on, so the second band is far wider than any other;
    ``shifted`` takes u = (t - 1) / (T - 1) throughout, so s(1) = s1 follows.

    Args:
        num_bands: Number of bands (T).
        initial: Initial scope (s1).
        power: Progress rate (p).
        index: How the step becomes progress.

    References:
        arXiv 2509.13790, section 3; the formula is a reconstruction of what its sources quote of it.
    """
    steps = np.arange(1, num_bands + 1, dtype=np.float64)
    if index == "literal":
        found = root_competence(steps / num_bands, initial, power)
        found[0] = initial
    else:
        found = root_competence((steps - 1.0) / max(num_bands - 1, 1), initial, power)
    found[-1] = 1.0
    return found


def cut_bands(num_examples: int, scope: FloatArray) -> list[tuple[int, int]]:
    """Places ``(lo, hi)`` of the bands between successive scopes; they partition ``range(num_examples)``.

    A band that rounding leaves empty is left out.

    Args:
        num_examples: Length of the order (N).
        scope: [T] rising shares; the last is 1.
    """
    # The small constant keeps 0.07 * 100 at 7 where the product falls a rounding error below it.
    edges = [0, *(int(share * num_examples + 1e-9) for share in scope[:-1]), num_examples]
    return [(lo, hi) for lo, hi in pairwise(edges) if hi > lo]
