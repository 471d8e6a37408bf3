"""What each stage was given to train on, in files that other programs read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from lit_curriculum.callbacks.checks import curriculum_data
from lit_curriculum.callbacks.observer import CurriculumObserver, StageReport


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
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True)
        store = curriculum_data(trainer).train_store
        weights = report.plan.weights
        partial = folder / f".stage-{report.stage}.partial"
        with partial.open("w", encoding="utf-8") as file:
            for place, index in enumerate(report.plan.indices.tolist()):
                example = store[index]
                known = {name: scores[index] for name, scores in report.table.scores.items()}
                line = {
                    "place": place,
                    "index": index,
                    "id": example.id,
                    "content_hash": example.content_hash,
                    "source": example.source,
                    "ability": example.ability,
                    "weight": 1.0 if weights is None else float(weights[place]),
                    "scores": {name: float(v) if np.isfinite(v) else None for name, v in known.items()},
                }
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        partial.replace(folder / f"stage-{report.stage}.jsonl")
