"""What a run of the rounds with a pretrained model came to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer

from experiments.common import Row
from lit_curriculum import CurriculumObserver, StageReport, TapirRounds
from lit_curriculum.methods.tapir.teacher.expander import PromptExpander
from lit_curriculum.utils.jsonl_log import JsonlLog


class Trace(Callback, CurriculumObserver):
    """What each stage is planned to train on, and its mean loss."""

    def __init__(self) -> None:
        self.scalars: list[dict[str, float]] = []
        self.losses: list[list[float]] = []

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        self.scalars.append(dict(report.plan.scalars))
        self.losses.append([])

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses[-1].append(float(outputs["loss"]))


def answers_of(replies: Path) -> dict[str, str]:
    """What was answered, by the request's key."""
    return JsonlLog(replies, lambda row: (str(row["key"]), str(row["reply"]["text"])), "reply").entries


def describe(name: str, rounds: TapirRounds, trace: Trace) -> list[Row]:
    """What a run came to."""
    judged = [j for _, j in rounds.records.judged.values()]
    gaps = [j.score_teacher - j.score_student for j in judged if j.valid]
    rows: list[Row] = [
        {"name": f"{name}: rounds begun", "value": rounds.records.round, "unit": "rounds"},
        {"name": f"{name}: rows judged", "value": len(gaps), "unit": "rows"},
        {"name": f"{name}: rows set aside, no readable judgement", "value": len(judged) - len(gaps), "unit": "rows"},
    ]
    if gaps:
        rows.append({"name": f"{name}: median MFD", "value": float(np.median(gaps)), "unit": "points", "n": len(gaps),
                     "low": min(gaps), "high": max(gaps)})  # fmt: skip
    for origin in ("raw", "expanded"):
        count = sum(row.origin == origin for row in rounds.records.rows)
        rows.append(
            {"name": f"{name}: {'refined' if origin == 'raw' else origin} rows", "value": count, "unit": "rows"}
        )
    expander = rounds.roles.expander
    assert isinstance(expander, PromptExpander)
    for reason, count in sorted(expander.rejected.items()):
        rows.append({"name": f"{name}: new instructions rejected, {reason}", "value": count, "unit": "instructions"})
    for stage, scalars in enumerate(trace.scalars):
        for key, unit in (("alpha", "share"), ("hard_share", "share"), ("hard_pool", "rows")):
            if key in scalars and stage:
                rows.append({"name": f"{name}: round {stage}, {key}", "value": scalars[key], "unit": unit})
        if trace.losses[stage]:
            loss = float(np.mean(trace.losses[stage]))
            rows.append({"name": f"{name}: stage {stage}, mean loss", "value": loss, "unit": "nats"})
    return rows
