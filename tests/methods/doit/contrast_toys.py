"""Findings of planted studies."""

from __future__ import annotations

from dataclasses import replace

from lit_curriculum.methods.doit.study.growth_records import GrowthRecord
from tests.methods.doit.planted_curves import planted


def of(arm: str, size: str, params: float, slope: float, start: float, seeds: int = 2) -> list[GrowthRecord]:
    found = planted(slope, 400, start, seeds)
    return [replace(r, arm=arm, size=size, params=params, cell=f"{arm}-{size}-{r.rung}-{r.seed}") for r in found]
