"""Writes the ledger of a run during training, and continues it after a resume."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from lit_curriculum.callbacks import ledger_tables as parts
from lit_curriculum.difficulty.training_losses import TrainingLossCollector, has_losses
from lit_curriculum.loop.checks import curriculum_data
from lit_curriculum.loop.hooks import CurriculumObserver, run_folder
from lit_curriculum.loop.planner import StageReport
from lit_curriculum.loop.resume import batches_done
from lit_curriculum.report.ledger import (
    DROPPED,
    EXAMPLES,
    FOLDER,
    INFO,
    PLANNED,
    TRAINED,
    VERSION,
    Ledger,
    StageState,
    part,
    stages_in,
)
from lit_curriculum.types import CONDITIONED, Plan
from lit_curriculum.utils.files import write_atomic

_PARENTS = 4  # how far above a checkpoint the folder of its run is looked for


class LedgerWriter(Callback, CurriculumObserver):
    """Writes the scores, choices, reasons and losses of all examples to ``ledger/`` in the run's folder.

    :mod:`~lit_curriculum.report.ledger` describes the files. A stage has two: the decision, written before the stage,
    and the losses of training, written after it. Each is written atomically, so a killed run leaves a ledger of all
    that it finished. A resumed run takes over the files up to its checkpoint, as links where the disk allows it, and
    ends with the ledger of an uninterrupted run. Losses come from the training steps, where the module returns
    ``index``, ``nll_sum`` and ``num_scored``, each [B]; nothing is computed for the ledger. Rank zero writes.

    Args:
        dirpath: Folder to write to; by default the logger's folder, or the trainer's root folder without a logger.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(self, dirpath: str | None = None) -> None:
        self.dirpath = dirpath
        self._reset()

    def _reset(self) -> None:
        self._folder: Path | None = None
        self._continued: Path | None = None  # where the checkpoint's run kept its ledger
        self._before: StageState | None = None  # as of the last part written
        self._begun = False
        self._stage = -1  # planned, and its training has not ended
        self._seconds = self._started = 0.0
        self._losses = TrainingLossCollector()

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._reset()
            self._folder = run_folder(trainer, self.dirpath) / FOLDER

    @override
    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        if self._folder is None:
            return
        self._begin(trainer, report.stage, report)
        if 0 <= self._stage < report.stage and report.previous is not None:
            self._end_stage(trainer, report.previous, len(report.previous))
        self._stage, self._seconds, self._losses = report.stage, 0.0, TrainingLossCollector()
        if not trainer.is_global_zero:
            return
        now = parts.state_of(report)
        start = 0 if self._before is None else len(self._before.times)
        if len(report.store) > start or report.stage == 0:
            batches = parts.example_tables(report.store, start)
            parts.write_part(part(self._folder, EXAMPLES, report.stage), batches, parts.EXAMPLE)
        rows = parts.planned_table(now, self._before, report.plan)
        self._write(PLANNED, report.stage, rows, parts.planned_info(report, trainer.global_step))
        self._before = now

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._stage >= 0:
            self._begin(trainer, self._stage + 1, None)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._started = time.perf_counter()

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._seconds += time.perf_counter() - self._started
        if has_losses(outputs):
            self._losses.add(outputs)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # If the curriculum's hook ran first, the plan of the next stage has ended this one already.
        if self._folder is not None and self._stage == trainer.current_epoch:
            sampler = curriculum_data(trainer).sampler
            assert sampler.plan is not None
            done = batches_done(trainer, -(-len(sampler.plan) // sampler.batch_size)) * sampler.batch_size
            self._end_stage(trainer, sampler.plan, min(done, len(sampler.plan)))

    def _end_stage(self, trainer: Trainer, plan: Plan, num_entries: int) -> None:
        stage, self._stage = self._stage, -1
        indices, losses = self._losses.take()
        if not trainer.is_global_zero:
            return
        store = curriculum_data(trainer).train_store
        entries = plan.indices[:num_entries]
        info = {
            "stage": stage, "entries": num_entries, "planned": len(plan),
            "tokens": int(store.lengths(CONDITIONED)[entries].sum()),
            "scored_tokens": int(store.num_scored(CONDITIONED)[entries].sum()),
            "seconds": self._seconds, "last_step": trainer.global_step,
        }  # fmt: skip
        self._write(TRAINED, stage, parts.trained_table(entries, indices, losses), info)

    def _write(self, kind: str, stage: int, rows: pa.Table, info: Mapping[str, Any]) -> None:
        assert self._folder is not None
        parts.write_part(part(self._folder, kind, stage), rows.to_batches(1 << 17), rows.schema, info)

    def _begin(self, trainer: Trainer, stage: int, report: StageReport | None) -> None:
        """Prepare the folder for the files from ``stage`` on, once in a run."""
        if self._begun or self._folder is None:
            return
        self._begun = True
        if not trainer.is_global_zero:
            return
        if stage > 0 and self._take_over(trainer, stage):
            self._before = Ledger(self._folder).state(stage - 1)
            return
        if self._folder.exists():
            self._folder.rename(_free_name(self._folder))
        if report is None:
            self._begun = False  # the next plan begins it
            return
        self._folder.mkdir(parents=True)
        parts.write_part(
            self._folder / DROPPED,
            parts.problem_table(getattr(curriculum_data(trainer), "problems", None)).to_batches(),
            parts.PROBLEM,
        )
        info = {
            "version": VERSION, "policy": type(report.policy).__name__,
            "required_metrics": list(report.policy.required_metrics),
            "batch_size": curriculum_data(trainer).sampler.batch_size, "num_stages": trainer.max_epochs,
            "metrics": {
                name: {"formula": report.formulas[name], "unit": m.unit, "higher_is_harder": m.higher_is_harder}
                for name, m in report.metrics.items()
            },
        }  # fmt: skip
        write_atomic(self._folder / INFO, json.dumps(info, indent=1) + "\n")

    def _take_over(self, trainer: Trainer, stage: int) -> bool:
        """Take over the files before ``stage`` of the run that is resumed; false if it has left none."""
        assert self._folder is not None
        places = [] if trainer.ckpt_path is None else [p / FOLDER for p in Path(trainer.ckpt_path).parents][:_PARENTS]
        if self._continued is not None:
            places.append(self._continued)
        source = next((p for p in places if part(p, PLANNED, stage - 1).exists()), None)
        if source is None:
            rank_zero_warn(
                f"the ledger begins with stage {stage}: the run that is resumed has left none beside its checkpoint "
                f"{trainer.ckpt_path}."
            )
            return False
        if source.resolve() != self._folder.resolve():
            if self._folder.exists():
                self._folder.rename(_free_name(self._folder))
            shutil.copytree(source, self._folder, copy_function=_link)
        last = {EXAMPLES: stage - 1, PLANNED: stage - 1, TRAINED: stage - 1 if self._stage < 0 else self._stage - 1}
        for kind, kept in last.items():
            for s in stages_in(self._folder / kind):
                if s > kept:
                    part(self._folder, kind, s).unlink()
        return True

    @override
    def state_dict(self) -> dict[str, Any]:
        if self._folder is None:
            return {}
        losses = self._losses.state_dict()
        folder = str(self._folder.absolute())
        return {"version": 1, "stage": self._stage, "folder": folder, "seconds": self._seconds, "losses": losses}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict:
            self._stage, self._continued = state_dict["stage"], Path(state_dict["folder"])
            self._seconds = state_dict["seconds"]
            self._losses.load_state_dict(state_dict["losses"])


def _free_name(folder: Path) -> Path:
    """A free name beside ``folder``, to move the ledger of another run to."""
    number = 1
    while (free := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    return free


def _link(source: str, target: str) -> None:
    """Link a file that is only ever replaced, never changed; copy it where the disk has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
