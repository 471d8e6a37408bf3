"""Writes the examples of each stage to files that other programs read."""

from __future__ import annotations

import json
import math
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from lit_curriculum.callbacks.ledger_tables import example_columns
from lit_curriculum.loop.hooks import CurriculumObserver, run_folder
from lit_curriculum.loop.planner import StageReport
from lit_curriculum.utils.files import atomic_path

_encode = json.JSONEncoder(ensure_ascii=False).encode


class SelectionLog(Callback, CurriculumObserver):
    """Writes ``selection/stage-<s>.jsonl`` to the run's folder: one line per entry of the plan, in training order.

    A line holds the entry's place in the stage, the example's index, id, content hash, source and ability, its weight,
    and its scores at the time of the decision (null where a metric has none). Rank zero writes a file as a whole. A
    stage that is planned again after a resume is written again, with the same content.

    Args:
        dirpath: Folder to write to; by default the logger's folder, or the trainer's root folder without a logger.
    """

    def __init__(self, dirpath: str | None = None) -> None:
        self.dirpath = dirpath
        self._folder = Path()

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._folder = run_folder(trainer, self.dirpath) / "selection"

    @override
    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        if not trainer.is_global_zero:
            return
        indices, weights = report.plan.indices, report.plan.weights
        described = example_columns(report.store, indices)
        rows = zip(*described.values(), strict=True)
        scores = {name: values[indices].tolist() for name, values in report.table.scores.items()}
        path = self._folder / f"stage-{report.stage}.jsonl"
        with atomic_path(path) as draft, draft.open("w", encoding="utf-8") as file:
            for place, (index, row) in enumerate(zip(indices.tolist(), rows, strict=True)):
                line = {
                    "place": place,
                    "index": index,
                    **dict(zip(described, row, strict=True)),
                    "weight": 1.0 if weights is None else float(weights[place]),
                    "scores": {m: v[place] if math.isfinite(v[place]) else None for m, v in scores.items()},
                }
                file.write(_encode(line) + "\n")
