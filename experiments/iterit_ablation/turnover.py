"""How much of what is hard, and of what is chosen, changes from stage to stage."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from lightning.pytorch import Callback, Trainer

from experiments.ablation import Measures
from lit_curriculum import CurriculumObserver, StageReport


class Turnover(Callback, CurriculumObserver):
    """How much of the hard examples, the choice and the short list changes from stage to stage.

    Args:
        skip: First stages that choose nothing.
    """

    def __init__(self, skip: int) -> None:
        self.skip = skip
        self.hard: list[set[int]] = []
        self.chosen: list[set[int]] = []

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        if report.stage < self.skip:
            return
        size = len(report.plan)
        self.chosen.append(set(report.plan.indices.tolist()))
        scores = report.table.scores.get("ifd", np.empty(0))
        # Policies behind first passes count their own stages, and the table the run's.
        if len(scores) and len(report.candidates) == len(scores):
            eligible = np.where(scores < 1.0, scores, -np.inf)
            hard = np.argsort(-eligible, kind="stable")[:size]
            self.hard.append({int(i) for i in hard if np.isfinite(eligible[i])})

    def measures(self) -> Measures:
        """Mean shares that are new against the stage before, and the first share of the hard ones."""
        found: Measures = {}
        if len(self.chosen) > 1:
            found["newly chosen"] = _new(self.chosen)
        if len(self.hard) > 1:
            found["newly hard"] = _new(self.hard)
            found["newly hard after the first stage"] = _new(self.hard[:2])
        return found


def _new(sets: list[set[int]]) -> float:
    return float(np.mean([len(now - before) / max(len(now), 1) for before, now in pairwise(sets)]))
