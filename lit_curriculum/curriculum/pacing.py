"""Pacing: the share of an easy-to-hard order in scope at a step, and the bands between successive scopes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lit_curriculum.types import FloatArray


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


def cut_bands(num_examples: int, scope: FloatArray) -> list[tuple[int, int]]:
    """Cut ``range(num_examples)`` into bands ``(lo, hi)`` at successive scopes.

    A band that rounding leaves empty is left out.

    Args:
        num_examples: Length of the order (N).
        scope: [T] rising shares; the last is 1.
    """
    # The small constant keeps 0.07 * 100 at 7 where the product falls a rounding error below it.
    edges = [0, *(int(share * num_examples + 1e-9) for share in scope[:-1]), num_examples]
    return [(lo, hi) for lo, hi in pairwise(edges) if hi > lo]
