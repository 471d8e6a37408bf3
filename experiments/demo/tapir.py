"""What the demo shows of TAPIR: the share of hard rows, their level and their tasks, round by round."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer
from rich.console import Console
from rich.table import Table

from experiments import figures as panels
from experiments.common import Row
from lit_curriculum import CurriculumObserver, StageReport, TapirPolicy
from lit_curriculum.methods.tapir.teacher.procedural import level_of
from lit_curriculum.report import figures
from lit_curriculum.types import Example

LEVELS = ("mean level", "level of hard rows", "level of easy rows", "level over task")


def true_level(example: Example) -> int:
    """The planted level, or where a teacher wrote the example, the one that its text shows."""
    level = example.meta.get("level")
    return level_of(example.instruction) if level is None else int(level)


class RoundTrace(Callback, CurriculumObserver):
    """Keeps what each stage's plan looks like.

    ``level over task`` is how far a row's level lies above the raw rows of its task on average, so that a change of
    tasks alone does not move it.
    """

    def __init__(self, policy: TapirPolicy) -> None:
        self.policy = policy
        self.stages: list[dict[str, Any]] = []

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        store, rows = trainer.datamodule.train_store, report.plan.indices  # type: ignore[attr-defined]
        levels = np.array([true_level(store[i]) for i in range(len(store))], dtype=np.float64)
        tasks = np.array(self.policy.tasks_of(np.arange(len(store))))
        usual = {t: levels[self.policy.raw & (tasks == t)].mean() for t in set(tasks[self.policy.raw].tolist())}
        round_ = self.policy.round_of(report.stage)
        entry: dict[str, Any] = {
            **report.plan.scalars, "stage": report.stage, "round": round_, "mean level": float(levels[rows].mean()),
            "level over task": float(np.mean([levels[i] - usual[tasks[i]] for i in rows])),
        }  # fmt: skip
        if round_:
            is_hard = np.isin(rows, self.policy.pools(report.table).hard)
            entry["tasks"] = dict(Counter(tasks[rows[is_hard]].tolist()))
            entry["level of hard rows"] = float(levels[rows[is_hard]].mean())
            entry["level of easy rows"] = float(levels[rows[~is_hard]].mean())
        self.stages.append(entry)

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """The last stage of each round."""
        return list({s["round"]: s for s in self.stages if s["round"]}.values())

    def farthest(self, stage: dict[str, Any]) -> float:
        """Rows by which the task that is farthest from its quota misses it."""
        ratios, num_hard = self.policy.targets or {}, sum(stage["tasks"].values())
        off = [abs(stage["tasks"].get(t, 0) - num_hard * r / sum(ratios.values())) for t, r in ratios.items()]
        return max(off, default=0.0)

    def after(self, history: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
        """Accuracy by task when S_0 was ready and after each round, by the validation closest to its end."""
        found: dict[str, dict[str, float]] = {}
        ends = {"S_0": self.policy.warmup_stages - 1} | {f"round {s['round']}": s["stage"] for s in self.rounds}
        for name, stage in ends.items():
            entry = min((e for e in history if e["results"]), key=lambda e: (abs(e["epoch"] - stage), -e["step"]))
            found[name] = {task: result["accuracy"] for task, result in sorted(entry["results"].items())}
        return found

    def show(self, console: Console, history: list[dict[str, Any]]) -> None:
        """Two tables: the rounds, and the accuracy by task after each."""
        table = Table(title="TAPIR's rounds", title_justify="left")
        for column in ("round", "alpha", "hard share", *LEVELS, "hard pool", "farthest from quota"):
            table.add_column(column, justify="right")
        for s in self.rounds:
            table.add_row(
                str(s["round"]), f"{s['alpha']:.2f}", f"{s['hard_share']:.3f}", *(f"{s[name]:.2f}" for name in LEVELS),
                f"{s['hard_pool']:.0f}", f"{self.farthest(s):.2f} rows",
            )  # fmt: skip
        console.print(table)
        after = self.after(history)
        accuracy = Table(title="Accuracy by task, and its share of the hard rows", title_justify="left")
        for column in ("task", *after, "target", *(f"share {s['round']}" for s in self.rounds)):
            accuracy.add_column(column, justify="left" if column == "task" else "right")
        targets = self.policy.targets or {}
        for task in next(iter(after.values())):
            shares = [s["tasks"].get(task, 0) / sum(s["tasks"].values()) for s in self.rounds]
            accuracy.add_row(
                task, *(f"{result[task]:.2f}" for result in after.values()),
                f"{targets.get(task, 0.0) / sum(targets.values()):.3f}", *(f"{share:.3f}" for share in shares),
            )  # fmt: skip
        console.print(accuracy)

    def rows(self, history: list[dict[str, Any]]) -> list[Row]:
        """The same for the results file."""
        rows: list[Row] = []
        for s in self.rounds:
            name = f"round {s['round']}"
            rows += [{"name": f"{name}: {n}", "value": s[n], "unit": "level"} for n in LEVELS]
            rows += [
                {"name": f"{name}: alpha", "value": s["alpha"], "unit": "share"},
                {"name": f"{name}: hard share", "value": s["hard_share"], "unit": "share"},
                {"name": f"{name}: hard pool", "value": s["hard_pool"], "unit": "rows"},
                {"name": f"{name}: farthest task from its quota", "value": self.farthest(s), "unit": "rows"},
            ]
        for name, accuracy in self.after(history).items():
            rows += [{"name": f"{name}: accuracy/{t}", "value": v, "unit": "share"} for t, v in accuracy.items()]
        return rows

    def save(self, folder: Path, history: list[dict[str, Any]]) -> None:
        """The stages as numbers, and a figure of the rounds."""
        (folder / "rounds.json").write_text(json.dumps(self.stages, indent=1) + "\n")
        figure, axes = figures.plt.subplots(1, 3, figsize=(17, 4.5))
        numbers = [s["round"] for s in self.rounds]
        panels.lines_by_round(axes[0], numbers, {n: [s[n] for s in self.rounds] for n in LEVELS}, "true level")
        shares = {"hard share": [s["hard_share"] for s in self.rounds], "alpha": [s["alpha"] for s in self.rounds]}
        panels.lines_by_round(axes[1], numbers, shares, "share of the loss on hard rows")
        after = self.after(history)
        by_task = {task: [result[task] for result in after.values()] for task in next(iter(after.values()))}
        panels.lines_by_round(axes[2], [0, *numbers], by_task, "accuracy on validation items (0: S_0)")
        figures.save(figure, folder / "tapir_rounds.png")
