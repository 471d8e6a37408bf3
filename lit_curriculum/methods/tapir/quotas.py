"""How many rows of each task a stage takes so that the tasks stand in given ratios, and which rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lit_curriculum.types import FloatArray, IntArray

MissingTasks = Literal["redistribute", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Rows of each task; every count is within 1 of its quota."""

    counts: Mapping[str, int]
    quotas: Mapping[str, float]
    """Share of the total that each task is due, after what others could not take has been shared out."""
    shortfall: int
    """Rows asked for that no task could give."""


def largest_remainders(shares: FloatArray, total: int) -> IntArray:
    """Whole numbers [K] that add up to ``total`` and lie within 1 of ``total * shares / sum(shares)``.

    What rounding down leaves goes to the largest remainders; equal ones by place.
    """
    exact = total * np.asarray(shares, dtype=np.float64) / np.sum(shares)
    counts = np.floor(exact + 1e-9).astype(np.int64)
    left = total - int(counts.sum())
    counts[np.argsort(-(exact - counts), kind="stable")[:left]] += 1
    return counts


def allocate(
    ratios: Mapping[str, float],
    total: int,
    available: Mapping[str, int],
    max_repeat: int = 1,
    missing: MissingTasks = "redistribute",
) -> Allocation:
    """Rows of each task: quotas by ratio, under what each task has.

    A task gives at most ``max_repeat`` times its rows. What it cannot give goes to the others by their ratios, until
    all are at their limit.

    Args:
        ratios: Target ratio of each task; they need not add up to one.
        total: Rows to share out.
        available: Rows that each task has; tasks without a ratio are not drawn from.
        max_repeat: How often a row may be taken.
        missing: ``drop`` leaves the share of what a task cannot give undrawn instead, and it counts as shortfall.

    Returns:
        Counts of all tasks of ``ratios``.

    References:
        Yue et al., arXiv 2405.13448, section 3: training data resampled to target task ratios.
    """
    caps = {t: max_repeat * available.get(t, 0) for t in ratios}
    quotas: dict[str, float] = dict.fromkeys(ratios, 0.0)
    due = {t: r for t, r in ratios.items() if r > 0.0}
    if missing == "drop":
        counts = _rounded(due, total)
        quotas |= {t: min(total * r / sum(due.values()), float(caps[t])) for t, r in due.items()}
        given = {t: min(n, caps[t]) for t, n in counts.items()}
        return Allocation(counts=dict.fromkeys(ratios, 0) | given, quotas=quotas, shortfall=total - sum(given.values()))
    fixed = {t: 0 for t in due if caps[t] == 0}
    left = total
    while True:
        open_ = {t: r for t, r in due.items() if t not in fixed}
        if not open_:
            break
        share = left / sum(open_.values())
        full = [t for t, r in open_.items() if r * share > caps[t]]
        if not full:
            quotas |= {t: r * share for t, r in open_.items()}
            fixed |= _rounded(open_, left)
            left = 0
            break
        for task in full:
            fixed[task] = caps[task]
            quotas[task] = float(caps[task])
            left -= caps[task]
    return Allocation(counts=dict.fromkeys(ratios, 0) | fixed, quotas=quotas, shortfall=left)


def draw_rows(rows: IntArray, count: int, generator: np.random.Generator) -> IntArray:
    """``count`` of ``rows`` [K] at random, each as often as any other to within one.

    Args:
        rows: In an order that does not depend on the file's, since the draw is of places.
        count: How many; more than K repeats rows.
        generator: Of the draw.
    """
    whole, rest = divmod(count, len(rows)) if count else (0, 0)
    parts = [rows] * whole
    if rest:
        parts.append(generator.permutation(rows)[:rest])
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, dtype=np.int64)


def _rounded(ratios: Mapping[str, float], total: int) -> dict[str, int]:
    if not ratios:
        return {}
    counts = largest_remainders(np.array(list(ratios.values())), total)
    return dict(zip(ratios, counts.tolist(), strict=True))
