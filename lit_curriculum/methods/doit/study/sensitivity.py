"""Sensitivity of abilities to volume, with intervals and the classes that follow.

Slopes are of the chance-corrected score per quadrupling of rows, or of the negative loss where losses are measured.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from lit_curriculum.methods.doit.study.fits import Curve, fit_loss, fit_score, saturation
from lit_curriculum.methods.doit.study.growth_records import GrowthRecord
from lit_curriculum.types import FloatArray

GrowthClass = Literal["responsive", "resistant", "saturated", "accelerating", "undetermined"]
_LEVEL = (2.5, 97.5)
_NO_WIDTH = 1e-9
_GRID = 17  # points at which a fitted curve is written down for figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AbilityGrowth:
    """Curve, slopes and class of one ability of one arm and size."""

    ability: str
    arm: str
    size: str
    rungs: tuple[int, ...]
    means: tuple[Interval, ...]
    """Score, or loss in nats, at every rung."""
    chance: float
    slope: Interval
    """S_D, gain per quadrupling."""
    curvature: Interval
    """Twice the quadratic term over log4 n."""
    last_gain: Interval
    """From the last rung but one to the last."""
    growth_class: GrowthClass
    curve: Curve
    saturation_rows: float | None
    num_items: int
    num_seeds: int
    measure: str

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; what is not a number is null."""
        row = asdict(self)
        row["curve"] = {"family": self.curve.family, "params": list(self.curve.params), "chance": self.curve.chance}
        if math.isnan(self.chance):
            row["chance"] = row["curve"]["chance"] = None
        grid = np.geomspace(self.rungs[0], self.rungs[-1], _GRID)
        row["fitted"] = {
            "rows": [round(float(n), 2) for n in grid],
            "values": [round(self.curve(float(n)), 5) for n in grid],
        }
        return row


def classify(slope: Interval, curvature: Interval, last_gain: Interval, delta: float) -> GrowthClass:
    """The class by intervals, never by a test that failed.

    Args:
        slope: Gain per quadrupling.
        curvature: Its change per quadrupling.
        last_gain: Gain of the last rung over the one before.
        delta: Smallest slope that counts.
    """
    # Where every item came out alike, resampling says nothing of what other items would do.
    if slope.high - slope.low < _NO_WIDTH:
        return "undetermined"
    if -delta < slope.low and slope.high < delta:
        return "resistant"
    if slope.low <= 0 or slope.value < delta:
        return "undetermined"
    if curvature.low > 0:
        return "accelerating"
    if curvature.value < 0 and last_gain.low <= 0 <= last_gain.high:
        return "saturated"
    return "responsive"


def analyse(
    records: Sequence[GrowthRecord],
    delta: float = 0.02,
    num_resamples: int = 1000,
    measure: str = "score",
    seed: int = 0,
) -> list[AbilityGrowth]:
    """Curves, slopes and classes from the selected test records.

    Items and seeds are resampled together and paired: a resample takes the same seeds and, within a seed, the same
    items at every rung. Where there is one seed only items are resampled.

    Args:
        records: Of all cells.
        delta: Smallest slope per quadrupling that counts; an ability that gains less is saturated in volume.
        num_resamples: Bootstrap resamples.
        measure: ``score`` or ``nll``.
        seed: Of the resamples.

    Raises:
        ValueError: an ability was measured on fewer than three rungs, or not on the same items at all of them.
    """
    groups: dict[tuple[str, str, str], list[GrowthRecord]] = defaultdict(list)
    for r in records:
        if r.on_curve:
            groups[r.ability, r.arm, r.size].append(r)
    return [_analyse_one(groups[key], delta, num_resamples, measure, seed) for key in sorted(groups)]


def _analyse_one(
    records: Sequence[GrowthRecord], delta: float, num_resamples: int, measure: str, seed: int
) -> AbilityGrowth:
    table, chance = item_table(records, measure)
    rungs = sorted({r.rung for r in records})
    x = np.log(np.array(rungs, dtype=float)) / math.log(4)
    rng = np.random.default_rng(seed)
    means = resampled_means(table, rng, num_resamples)
    centre = np.mean([seed_table.mean(axis=1) for seed_table in table], axis=0)
    both = np.vstack([centre[None], means])
    values = (both - chance) / (1 - chance) if measure == "score" else -both
    slopes, curvatures = line_and_bend(x, values)
    gains = values[:, -1] - values[:, -2]
    slope, curvature, last = interval_of(slopes), interval_of(curvatures), interval_of(gains)
    n = np.array(rungs, dtype=float)
    if measure == "score":
        total = np.full(len(rungs), float(sum(t.shape[1] for t in table)))
        curve = fit_score(n, np.round(centre * total), total, chance)
        end = saturation(curve, delta, n)
    else:
        curve, end = fit_loss(n, centre), None
    first = records[0]
    return AbilityGrowth(
        ability=first.ability, arm=first.arm, size=first.size, rungs=tuple(rungs),
        means=tuple(interval_of(both[:, i]) for i in range(len(rungs))),
        chance=chance if measure == "score" else math.nan, slope=slope, curvature=curvature, last_gain=last,
        growth_class=classify(slope, curvature, last, delta), curve=curve, saturation_rows=end,
        num_items=table[0].shape[1], num_seeds=len(table), measure=measure,
    )  # fmt: skip


def item_table(records: Sequence[GrowthRecord], measure: str) -> tuple[list[FloatArray], float]:
    """Of each seed [R, items] what every item scored at every rung; and the mean chance.

    Raises:
        ValueError: rungs or items are missing.
    """
    by_seed: dict[int, dict[int, GrowthRecord]] = defaultdict(dict)
    for r in records:
        by_seed[r.seed][r.rung] = r
    rungs = sorted({r.rung for r in records})
    name = f"{records[0].ability} ({records[0].arm}, {records[0].size})"
    if len(rungs) < 3:
        raise ValueError(f"{name} was measured at {len(rungs)} rungs; curves need at least 3, so run more cells.")
    table = []
    for seed, mine in sorted(by_seed.items()):
        if len(mine) < len(rungs):
            raise ValueError(f"{name}: seed {seed} lacks rung {sorted(set(rungs) - set(mine))[0]}; run the rest first.")
        rows = [item_values(mine[n], measure) for n in rungs]
        if len({len(row) for row in rows}) > 1:
            raise ValueError(f"{name}: seed {seed} was not measured on the same items at every rung; run it again.")
        table.append(np.stack(rows))
    chances = [r.chance for r in records]
    return table, float(np.mean(chances))


def item_values(record: GrowthRecord, measure: str) -> FloatArray:
    """[items] right or wrong as 1 or 0 for the measure ``score``, else losses in nats."""
    if measure == "score":
        return np.array([float(c) for c in record.outcomes])
    return np.array(record.item_nll, dtype=float)


def resampled_means(table: Sequence[FloatArray], rng: np.random.Generator, num_resamples: int) -> FloatArray:
    """[num_resamples, R] means at every rung; one draw of seeds and items serves all rungs."""
    means = np.empty((num_resamples, table[0].shape[0]))
    for b in range(num_resamples):
        seeds = rng.integers(len(table), size=len(table)) if len(table) > 1 else [0]
        drawn = [table[s][:, rng.integers(table[s].shape[1], size=table[s].shape[1])].mean(axis=1) for s in seeds]
        means[b] = np.mean(drawn, axis=0)
    return means


def line_and_bend(x: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least-squares slope, and twice the quadratic term, of each row of ``values`` [B, R] over ``x`` [R]."""
    line = np.polynomial.polynomial.polyfit(x, values.T, 1)[1]
    bend = 2 * np.polynomial.polynomial.polyfit(x, values.T, 2)[2]
    return line, bend


def interval_of(values: FloatArray) -> Interval:
    """Of [1 + resamples] values, the first of which is the estimate."""
    low, high = np.percentile(values[1:], _LEVEL)
    return Interval(value=float(values[0]), low=float(low), high=float(high))


def report_rows(found: Sequence[AbilityGrowth]) -> list[dict[str, str | float | int]]:
    """Rows of a results file: slope and its interval, with the class in the name."""
    return [
        {
            "name": f"{a.ability} ({a.arm}, {a.size}): {a.growth_class}, slope",
            "value": a.slope.value,
            "unit": "points/100 per quadrupling" if a.measure == "score" else "nats per quadrupling",
            "low": a.slope.low,
            "high": a.slope.high,
            "n": a.num_seeds,
        }
        for a in found
    ]
