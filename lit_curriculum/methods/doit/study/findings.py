"""Findings of a study: curves, classes, size, method, crossovers, transfer, proxies and joint laws."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lit_curriculum.methods.doit.study.contrasts import Crossover, SizeGrowth, crossovers, method_gap, size_growth
from lit_curriculum.methods.doit.study.growth_records import ALONE, BASE, WITHOUT, GrowthRecord
from lit_curriculum.methods.doit.study.joint_law import fit_joint_law, joint_intervals
from lit_curriculum.methods.doit.study.sensitivity import AbilityGrowth, Interval, analyse
from lit_curriculum.methods.doit.study.transfer import (
    Transfer,
    complexity_proxy,
    rank_correlation,
    transfer_matrix,
    transference,
)

_MIN_CELLS = 6
_MIN_ABILITIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Findings of :func:`find`; parts that the study has no cells for are empty or none."""

    curves: Sequence[AbilityGrowth]
    sizes: Sequence[SizeGrowth] = ()
    """S_N of every ability that was trained in two sizes or more."""
    method: Mapping[str, Interval] = field(default_factory=dict)
    """S_M by ability: mean height between the curves of the first arm and of the second over shared rungs."""
    crossovers: Sequence[Crossover] = ()
    transfer: Transfer | None = None
    transference: Mapping[str, Interval] = field(default_factory=dict)
    """Project proxy by ability; the COLING 2025 definition is not available."""
    complexity: Mapping[str, float] = field(default_factory=dict)
    """Project proxy by ability: loss before training in nats per token."""
    correlations: Mapping[str, Interval] = field(default_factory=dict)
    """Rank correlation of S_D with each proxy, over few abilities."""
    laws: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    """Parameters of the additive law of loss over size and rows, by ability."""

    def to_json(self) -> dict[str, Any]:
        """Plain values without the curves, which have a separate file."""
        transfer = None if self.transfer is None else asdict(self.transfer)
        return {
            "sizes": [asdict(s) for s in self.sizes],
            "method": {a: asdict(v) for a, v in self.method.items()},
            "crossovers": [asdict(c) for c in self.crossovers],
            "transfer": transfer,
            "transference": {a: asdict(v) for a, v in self.transference.items()},
            "complexity": dict(self.complexity),
            "correlations": {a: asdict(v) for a, v in self.correlations.items()},
            "laws": {a: {k: asdict(v) for k, v in law.items()} for a, law in self.laws.items()},
        }


def find(
    records: Sequence[GrowthRecord], delta: float = 0.02, num_resamples: int = 1000, measure: str = "score"
) -> Findings:
    """Compute all findings that the records allow.

    Transfer, transference and complexity are of the size with the fewest parameters that has such cells.

    Args:
        records: Of all cells.
        delta: Smallest slope that counts.
        num_resamples: Bootstrap resamples.
        measure: ``score`` or ``nll``.

    Raises:
        ValueError: rungs or items are missing.
    """
    curves = analyse(records, delta, num_resamples, measure)
    arms = {r.arm for r in records if r.selected}
    transfer, left_out, complexity = None, {}, {}
    if any(a.startswith(ALONE) for a in arms):
        transfer = transfer_matrix(_smallest(records, ALONE), measure, num_resamples)
    if any(a.startswith(WITHOUT) for a in arms) and BASE in arms:
        left_out = transference(_smallest(records, WITHOUT), measure=measure, num_resamples=num_resamples)
    if BASE in arms:
        base: dict[str, list[float]] = defaultdict(list)
        for r in _smallest(records, BASE):
            if r.arm == BASE and r.split == "test" and r.group == "in_domain":
                base[r.ability].append(r.nll)
        complexity = {a: complexity_proxy(float(np.mean(v))) for a, v in sorted(base.items())}
    return Findings(
        curves=curves,
        sizes=size_growth(records, delta, num_resamples, measure),
        method=_method_gaps(records, measure, num_resamples),
        crossovers=crossovers(curves),
        transfer=transfer,
        transference=left_out,
        complexity=complexity,
        correlations=_correlations(curves, complexity, {a: v.value for a, v in left_out.items()}),
        laws=_laws(records),
    )


def _smallest(records: Sequence[GrowthRecord], arm: str) -> list[GrowthRecord]:
    """The records of the smallest size that has cells of the arm."""
    params = min(r.params for r in records if r.arm.startswith(arm))
    return [r for r in records if r.params == params]


def _method_gaps(records: Sequence[GrowthRecord], measure: str, num_resamples: int) -> dict[str, Interval]:
    """Curated less synthetic, by ability and size, where both were trained at two shared rungs or more."""
    groups: dict[tuple[str, str], dict[str, list[GrowthRecord]]] = defaultdict(lambda: defaultdict(list))
    for r in records:
        if r.on_curve:
            groups[r.ability, r.size][r.arm].append(r)
    return {
        f"{ability} ({size})": method_gap(arms["curated"], arms["synthetic"], measure, num_resamples)
        for (ability, size), arms in sorted(groups.items())
        if {"curated", "synthetic"} <= set(arms)
    }


def _correlations(
    curves: Sequence[AbilityGrowth], complexity: Mapping[str, float], left_out: Mapping[str, float]
) -> dict[str, Interval]:
    slopes = {c.ability: c.slope.value for c in curves if c.arm == "curated"}
    out = {}
    for name, proxy in (("complexity", complexity), ("transference", left_out)):
        shared = sorted(a for a in set(slopes) & set(proxy) if math.isfinite(proxy[a]))
        if len(shared) >= _MIN_ABILITIES:
            out[name] = rank_correlation([slopes[a] for a in shared], [proxy[a] for a in shared])
    return out


def _laws(records: Sequence[GrowthRecord]) -> dict[str, dict[str, Interval]]:
    """The additive joint law of every ability of the curated arm that was trained in two sizes and enough cells."""
    groups: dict[str, list[GrowthRecord]] = defaultdict(list)
    for r in records:
        if r.on_curve and r.arm == "curated":
            groups[r.ability].append(r)
    out = {}
    for ability, mine in sorted(groups.items()):
        size = np.array([r.params for r in mine], dtype=float)
        rows = np.array([r.rung for r in mine], dtype=float)
        loss = np.array([r.nll for r in mine], dtype=float)
        if (
            len(np.unique(size)) > 1
            and len(np.unique(rows)) > 1
            and len(set(zip(size, rows, strict=True))) >= _MIN_CELLS
        ):
            out[ability] = joint_intervals(fit_joint_law(size, rows, loss), size, rows, loss)
    return out
