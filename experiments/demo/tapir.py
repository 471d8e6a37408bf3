"""What the demo shows of TAPIR: the share of hard rows, their level and their tasks, stage by stage."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer
from rich.console import Console
from rich.table import Table

from lit_curriculum.callbacks import CurriculumObserver, StageReport
from lit_curriculum.curriculum import TapirPolicy
from lit_curriculum.distill.procedural import level_of
from lit_curriculum.types import Example


def true_level(example: Example) -> int:
    """The planted level, or where a teacher wrote the example, the one that its text shows."""
    level = example.meta.get("level")
    return level_of(example.instruction) if level is None else int(level)


class RoundTrace(Callback, CurriculumObserver):
    """Keeps what each stage's plan looks like."""

    def __init__(self, policy: TapirPolicy) -> None:
        self.policy = policy
        self.stages: list[dict[str, Any]] = []

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        store, rows = trainer.datamodule.train_store, report.plan.indices  # type: ignore[attr-defined]
        entry: dict[str, Any] = {
            **report.plan.scalars, "stage": report.stage, "round": self.policy.round_of(report.stage),
            "mean level": float(np.mean([true_level(store[int(i)]) for i in rows])),
        }  # fmt: skip
        if entry["round"]:
            hard = rows[np.isin(rows, self.policy.pools(report.table).hard)]
            entry["tasks"] = dict(Counter(self.policy.tasks_of(hard)))
        self.stages.append(entry)

    def show(self, console: Console, history: list[dict[str, Any]]) -> None:
        """Two tables: the rounds, and the accuracy by task after each validation."""
        table = Table(title="TAPIR's stages", title_justify="left")
        for column in (
            "stage",
            "round",
            "alpha",
            "hard share",
            "mean level",
            "hard pool",
            "farthest task from its quota",
        ):
            table.add_column(column, justify="right")
        for s in self.stages:
            if not s["round"]:
                continue
            ratios = self.policy.targets or {}
            num_hard = sum(s["tasks"].values())
            off = [abs(s["tasks"].get(t, 0) - num_hard * r / sum(ratios.values())) for t, r in ratios.items()]
            table.add_row(
                str(s["stage"]), str(s["round"]), f"{s['alpha']:.2f}", f"{s['hard_share']:.3f}",
                f"{s['mean level']:.2f}", f"{s['hard_pool']:.0f}", f"{max(off, default=0.0):.2f} rows",
            )  # fmt: skip
        console.print(table)
        accuracy = Table(title="Accuracy by task", title_justify="left")
        accuracy.add_column("after stage")
        names = sorted(history[-1]["results"]) if history else []
        for name in names:
            accuracy.add_column(name, justify="right")
        for entry in history:
            accuracy.add_row(str(entry["epoch"]), *(f"{entry['results'][n]['accuracy']:.2f}" for n in names))
        console.print(accuracy)

    def save(self, folder: Path) -> None:
        """The same as numbers."""
        (folder / "rounds.json").write_text(json.dumps(self.stages, indent=1) + "\n")
