"""Shares of sources in a mixture: by temperature, by excess loss (DoReMi), by a graph of skills (Skill-It)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lit_curriculum.types import FloatArray, IntArray


def temperature_shares(sizes: Sequence[int], temperature: float, cap: int | None = None) -> FloatArray:
    """Shares p_i [K] in proportion to min(n_i, cap)^(1 / T).

    T = 1 keeps the proportions of the data, infinity gives equal shares.

    Args:
        sizes: [K] examples of each source (n_i), all above 0.
        temperature: T, above 0.
        cap: Size from which on a source counts no further, or none.

    References:
        Raffel et al. 2020, arXiv 1910.10683, section 3.5.2 (there with an artificial limit K for ``cap``).
    """
    counted = np.minimum(sizes, np.inf if cap is None else cap)
    powers = np.log(counted) / temperature
    return _softmax(powers)


def doremi_shares(shares: FloatArray, excess: FloatArray, rate: float, smoothing: float) -> FloatArray:
    """[K] shares after a step of exponentiated gradient ascent on the excess losses.

        a'_i = a_i exp(eta lambda_i),   a_i = (1 - c) a'_i / sum_j a'_j + c / K

    Args:
        shares: [K] shares so far (a), all above 0.
        excess: [K] excess losses (lambda), not negative.
        rate: eta.
        smoothing: c, in [0, 1]: every share is at least c / K.

    References:
        Xie et al. 2023, "DoReMi", arXiv 2305.10429, algorithm 1.
    """
    raised = _softmax(np.log(shares) + rate * excess)
    return (1.0 - smoothing) * raised + smoothing / len(shares)


def skill_it_shares(initial: FloatArray, graph: FloatArray, losses: FloatArray, rate: float) -> FloatArray:
    """[K] shares p_i in proportion to p0_i exp(eta sum_t sum_j A_ij L_j(t)) over the latest losses.

    Args:
        initial: [K] shares at the beginning (p0).
        graph: [K, K] skill graph (A): how much training on i lowers the loss of j.
        losses: [W, K] latest losses of each source (L), one row a stage.
        rate: eta.

    References:
        Chen et al. 2023, "Skill-It!", arXiv 2307.14430, algorithm 1.
    """
    return _softmax(np.log(initial) + rate * graph @ losses.sum(axis=0))


def apportion(shares: FloatArray, total: int) -> IntArray:
    """[K] whole numbers that sum to ``total``, by largest remainder; equal remainders in the order given."""
    exact = shares * total
    counts = np.floor(exact + 1e-9).astype(np.int64)
    left = total - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:left]] += 1
    return counts


def _softmax(values: FloatArray) -> FloatArray:
    raised = np.exp(values - values.max())
    shares: FloatArray = raised / raised.sum()
    return shares
