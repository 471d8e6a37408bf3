"""What each stage was given to train on, in files that other programs read."""

from __future__ import annotations

import json
import math
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from lit_curriculum.callbacks.ledger_tables import example_columns
from lit_curriculum.loop.hooks import CurriculumObserver
from lit_curriculum.loop.planner import StageReport
from lit_curriculum.utils.files import atomic_path

_encode = json.JSONEncoder(ensure_ascii=False).encode


class SelectionLog(Callback, CurriculumObserver):
    """Writes ``selection/stage-<s>.jsonl`` beside the run's log: one line an entry of the plan, in training order.

    A line holds the entry's place in the stage, the example's index, id, content hash, source and ability, its weight,
    and the scores that the decision was made on (none where a metric has no score). Written by rank zero, whole or not
    at all; a stage that is planned again after a resume is written again, the same.

    Args:
        dirpath: Folder to write to; by default the logger's folder, or the trainer's root folder without a logger.
    """

    def __init__(self, dirpath: str | None = None) -> None:
        self.dirpath = dirpath
        self._folder = Path()

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # The log's folder is rank zero's, which all ranks have to ask for.
        self._folder = Path(self.dirpath or trainer.log_dir or trainer.default_root_dir) / "selection"

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
