"""Size and method beside volume: slopes per doubling of size, areas between arms, and where curves meet."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from lit_curriculum.methods.doit.study.fits import Curve
from lit_curriculum.methods.doit.study.growth_records import GrowthRecord
from lit_curriculum.methods.doit.study.sensitivity import (
    AbilityGrowth,
    GrowthClass,
    Interval,
    classify,
    interval_of,
    item_values,
    line_and_bend,
    resampled_means,
)
from lit_curriculum.types import FloatArray

_GRID = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeGrowth:
    """How an ability answers to the size of the model, over the rungs that all sizes share."""

    ability: str
    arm: str
    sizes: tuple[str, ...]
    slope: Interval
    """S_N, gain per doubling of parameters."""
    growth_class: GrowthClass
    num_items: int
    num_seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossover:
    """Where one curve passes another."""

    kind: str
    """``size`` or ``arm``: predicted scores are equal; ``ability``: one more quadrupling gains both as much."""
    first: str
    """Ahead below ``rows``."""
    second: str
    """Ahead above."""
    rows: float


def size_growth(
    records: Sequence[GrowthRecord], delta: float = 0.02, num_resamples: int = 1000, measure: str = "score",
    seed: int = 0,
) -> list[SizeGrowth]:  # fmt: skip
    """S_N of every ability and arm that was trained in two sizes or more; the class by the rule of S_D.

    The mean over the shared rungs, on log2 of the parameters; seeds and items are resampled, paired over all cells.

    Args:
        records: Of all cells; the selected test records with a rung are used.
        delta: Smallest slope that counts.
        num_resamples: Bootstrap resamples.
        measure: ``score`` or ``nll``.
        seed: Of the resamples.
    """
    groups: dict[tuple[str, str], dict[float, dict[tuple[int, int], GrowthRecord]]]
    groups = defaultdict(lambda: defaultdict(dict))
    names: dict[float, str] = {}
    for r in records:
        if r.on_curve:
            groups[r.ability, r.arm][r.params][r.seed, r.rung] = r
            names[r.params] = r.size
    found = []
    for (ability, arm), by_size in sorted(groups.items()):
        sizes = sorted(by_size)
        shared = sorted(set.intersection(*(set(cells) for cells in by_size.values())))
        if len(sizes) < 2 or not shared:
            continue
        rungs, seeds = sorted({n for _, n in shared}), sorted({s for s, _ in shared})
        seeds = [s for s in seeds if all((s, n) in shared for n in rungs)]
        table = [
            np.stack([np.mean([item_values(by_size[p][s, n], measure) for n in rungs], axis=0) for p in sizes])
            for s in seeds
        ]
        chance = float(np.mean([by_size[p][s, n].chance for p in sizes for s in seeds for n in rungs]))
        values = _values(table, chance, measure, num_resamples, seed)
        x = np.log2(sizes)
        slope, bend = _line(x, values)
        last = interval_of(values[:, -1] - values[:, -2])
        found.append(
            SizeGrowth(
                ability=ability, arm=arm, sizes=tuple(names[p] for p in sizes), slope=slope,
                growth_class=classify(slope, bend, last, delta), num_items=table[0].shape[1], num_seeds=len(seeds),
            )
        )  # fmt: skip
    return found


def _line(x: FloatArray, values: FloatArray) -> tuple[Interval, Interval]:
    """Slope and bend; with two points there is no bend to speak of."""
    if len(x) > 2:
        line, bend = line_and_bend(x, values)
        return interval_of(line), interval_of(bend)
    return interval_of((values[:, 1] - values[:, 0]) / (x[1] - x[0])), Interval(value=0.0, low=0.0, high=0.0)


def method_gap(
    first: Sequence[GrowthRecord], second: Sequence[GrowthRecord], measure: str = "score", num_resamples: int = 1000,
    seed: int = 0,
) -> Interval:  # fmt: skip
    """S_M: the area under the first curve minus that under the second over log4 n, by its width on the shared rungs.

    Trapezoids between the raw means; seeds and items are resampled, paired over rungs and both arms.

    Args:
        first: Selected test records of one ability, arm (say curated) and size.
        second: The same of the other arm (say synthetic).
        measure: ``score`` (chance-corrected) or ``nll`` (more is better: the loss's fall).
        num_resamples: Bootstrap resamples.
        seed: Of the resamples.

    Raises:
        ValueError: the two share fewer than two rungs that were run with the same seeds.
    """
    cells = [{(r.seed, r.rung): r for r in part} for part in (first, second)]
    shared = set(cells[0]) & set(cells[1])
    rungs, seeds = sorted({n for _, n in shared}), sorted({s for s, _ in shared})
    if len(rungs) < 2 or any((s, n) not in shared for s in seeds for n in rungs):
        raise ValueError(
            f"{first[0].ability}: the arms {first[0].arm} and {second[0].arm} share {len(rungs)} rungs of the same "
            "seeds; an area needs at least 2, run the rest first."
        )
    table = [np.stack([item_values(part[s, n], measure) for part in cells for n in rungs]) for s in seeds]
    chance = float(np.mean([r.chance for part in cells for r in part.values()]))
    values = _values(table, chance, measure, num_resamples, seed)
    x = np.log(np.array(rungs, dtype=float)) / math.log(4)
    areas = [np.trapezoid(values[:, low : low + len(x)], x, axis=1) for low in (0, len(x))]
    return interval_of((areas[0] - areas[1]) / (x[-1] - x[0]))


def _values(table: Sequence[FloatArray], chance: float, measure: str, num_resamples: int, seed: int) -> FloatArray:
    """[1 + num_resamples, rows of the table] means, the estimate first; chance-corrected, or the loss's negative."""
    centre = np.mean([t.mean(axis=1) for t in table], axis=0)
    means = np.vstack([centre[None], resampled_means(table, np.random.default_rng(seed), num_resamples)])
    return (means - chance) / (1 - chance) if measure == "score" else -means


def meeting_point(first: Curve, second: Curve, low: float, high: float, of_gain: bool = False) -> float | None:
    """The smallest n in [low, high] at which two curves of any family, or their gains per quadrupling, are equal.

    None where they touch nowhere or are the same throughout.
    """

    def gap(x: float) -> float:
        n = 4.0**x
        return first.gain(n) - second.gain(n) if of_gain else first(n) - second(n)

    grid = np.linspace(math.log(low, 4), math.log(high, 4), _GRID)
    values = [gap(float(x)) for x in grid]
    for x0, x1, y0, y1 in zip(grid, grid[1:], values, values[1:], strict=False):
        if y0 * y1 < 0:
            return float(4.0 ** brentq(gap, float(x0), float(x1)))
    return None


def crossovers(found: Sequence[AbilityGrowth]) -> list[Crossover]:
    """Where fitted curves of one ability meet between sizes and arms, and where abilities' gains do.

    Args:
        found: From :func:`~lit_curriculum.methods.doit.study.sensitivity.analyse`; only the rungs that both
            share are compared.
    """
    out = []
    for k, a in enumerate(found):
        for b in found[k + 1 :]:
            same = [a.ability == b.ability, a.arm == b.arm, a.size == b.size]
            if sum(same) != 2 or a.measure != b.measure:
                continue
            kind = ("ability", "arm", "size")[same.index(False)]
            shared = sorted(set(a.rungs) & set(b.rungs))
            if len(shared) < 2:
                continue
            low, high = float(shared[0]), float(shared[-1])
            rows = meeting_point(a.curve, b.curve, low, high, of_gain=kind == "ability")
            if rows is None:
                continue
            # Losses are better where they are lower, and their gains are negative.
            sign = 1.0 if a.measure == "score" else -1.0
            below = a.curve.gain(low) - b.curve.gain(low) if kind == "ability" else a.curve(low) - b.curve(low)
            names = [f"{g.ability} ({g.arm}, {g.size})" for g in ((a, b) if sign * below > 0 else (b, a))]
            out.append(Crossover(kind=kind, first=names[0], second=names[1], rows=rows))
    return out
