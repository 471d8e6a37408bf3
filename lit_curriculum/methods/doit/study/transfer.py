"""Effects of training on one ability on others: the transfer matrix, and proxies of complexity and transference.

The arms ``alone:A`` train on A alone, ``without:A`` on all but A, and ``base`` on nothing. The definitions of
Complexity and Transference in the COLING 2025 version of the study are not available; the proxies here are ours.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from lit_curriculum.methods.doit.study.growth_records import ALONE, BASE, WITHOUT, GrowthRecord
from lit_curriculum.methods.doit.study.sensitivity import Interval, interval_of, item_values, resampled_means
from lit_curriculum.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """T_ab: gain on ability b per quadrupling of the rows of ability a, trained on alone."""

    sources: tuple[str, ...]
    """Abilities a that were trained on."""
    targets: tuple[str, ...]
    """Abilities b that were measured."""
    matrix: tuple[tuple[Interval, ...], ...]
    """A row for each source, an entry for each target."""


def transfer_matrix(
    records: Sequence[GrowthRecord], measure: str = "score", num_resamples: int = 1000, seed: int = 0
) -> Transfer:
    """Slopes of every ability over the rows of every other, from the cells that trained on one ability alone.

    Where untrained models were measured too, they are no part of it: log-volume has no zero.

    Args:
        records: Of all cells of one size; the selected test records of the arms ``alone:A`` are used.
        measure: ``score`` (chance-corrected) or ``nll`` (its fall).
        num_resamples: Bootstrap resamples of items and seeds, paired over rungs.
        seed: Of the resamples.

    Raises:
        ValueError: no ability was trained on alone, or one at fewer than two rungs.
    """
    groups: dict[tuple[str, str], dict[int, dict[int, GrowthRecord]]] = defaultdict(lambda: defaultdict(dict))
    for r in records:
        if r.selected and r.split == "test" and r.arm.startswith(ALONE):
            groups[r.arm.removeprefix(ALONE), r.ability][r.seed][r.rung] = r
    if not groups:
        raise ValueError("no cell trained on one ability alone; add the arm alone to the study and run it.")
    sources, targets = sorted({a for a, _ in groups}), sorted({b for _, b in groups})
    rows = [tuple(_slope(groups[a, b], a, measure, num_resamples, seed) for b in targets) for a in sources]
    return Transfer(sources=tuple(sources), targets=tuple(targets), matrix=tuple(rows))


def _slope(
    by_seed: Mapping[int, Mapping[int, GrowthRecord]], source: str, measure: str, num_resamples: int, seed: int
) -> Interval:
    rungs = sorted(set.intersection(*(set(found) for found in by_seed.values()))) if by_seed else []
    if len(rungs) < 2:
        raise ValueError(f"{source!r} was trained on alone at {len(rungs)} rungs; a slope needs at least 2, run more.")
    table = [np.stack([item_values(found[n], measure) for n in rungs]) for _, found in sorted(by_seed.items())]
    chance = float(np.mean([r.chance for found in by_seed.values() for r in found.values()]))
    means = np.vstack([_centre(table)[None], resampled_means(table, np.random.default_rng(seed), num_resamples)])
    values = (means - chance) / (1 - chance) if measure == "score" else -means
    x = np.log(np.array(rungs, dtype=float)) / math.log(4)
    return interval_of(np.polynomial.polynomial.polyfit(x, values.T, 1)[1])


def _centre(table: Sequence[FloatArray]) -> FloatArray:
    return np.asarray(np.mean([t.mean(axis=1) for t in table], axis=0), dtype=np.float64)


def transference(
    records: Sequence[GrowthRecord], measure: str = "score", num_resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Project proxy of transference of every ability that was left out once, at the highest rung that has all cells.

    The share of what training on all abilities brings that training on the others alone brings already; see
    :func:`transference_proxy`. NaN where training on all brings nothing.

    Args:
        records: Of all cells of one size: the arms ``base``, ``without:A`` and ``curated``, which trains on all.
        measure: ``score`` or ``nll``.
        num_resamples: Bootstrap resamples of items and seeds, paired over the three.
        seed: Of the resamples.

    Raises:
        ValueError: the untrained model was not measured, or no ability was left out.
    """
    chosen = [r for r in records if r.selected and r.split == "test"]
    base = {(r.ability, r.seed): r for r in chosen if r.arm == BASE}
    if not base:
        raise ValueError("the untrained model was not measured; add the arm base to the study and run it.")
    left_out = sorted({r.arm.removeprefix(WITHOUT) for r in chosen if r.arm.startswith(WITHOUT)})
    if not left_out:
        raise ValueError("no ability was left out of training; add the arm without to the study and run it.")
    found = {}
    for a in left_out:
        mine = {(r.arm, r.rung, r.seed): r for r in chosen if r.ability == a}
        top = max(n for name, n, _ in mine if name == WITHOUT + a and any(k[:2] == ("curated", n) for k in mine))
        seeds = [s for _, s in base if (WITHOUT + a, top, s) in mine and ("curated", top, s) in mine]
        table = [
            np.stack(
                [item_values(r, measure) for r in (mine[WITHOUT + a, top, s], base[a, s], mine["curated", top, s])]
            )
            for s in sorted(set(seeds))
        ]
        means = np.vstack([_centre(table)[None], resampled_means(table, np.random.default_rng(seed), num_resamples)])
        values = np.array([transference_proxy(*row) for row in means.tolist()])
        low, high = np.nanpercentile(values[1:], [2.5, 97.5]) if np.isfinite(values[1:]).any() else (math.nan,) * 2
        found[a] = Interval(value=float(values[0]), low=float(low), high=float(high))
    return found


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
