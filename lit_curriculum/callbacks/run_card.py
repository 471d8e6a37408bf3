"""Writes the summary of a run, its cost and its validation results to one small file that reports read."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from lit_curriculum.data.store import content_digest
from lit_curriculum.loop.callback import find_curriculum
from lit_curriculum.loop.checks import curriculum_data
from lit_curriculum.loop.hooks import CurriculumObserver, run_folder
from lit_curriculum.loop.planner import StageReport
from lit_curriculum.utils.files import write_atomic
from lit_curriculum.utils.options import Configured, options_of

FORMAT = 1
_PACKAGES = ("lit-curriculum", "torch", "lightning", "transformers")


@dataclass(slots=True)
class StageCost:
    """Size and cost of one stage."""

    stage: int
    step: int
    """Optimizer steps before the stage."""
    available: int
    """Examples in the data by then."""
    examples: int
    """Entries of the plan, repeats counted."""
    distinct: int
    tokens: int
    """Tokens of those entries, padding left out."""
    overlap: float | None
    """Share of the distinct examples that the stage before had too."""
    scored_tokens: int
    scoring_seconds: float
    selecting_seconds: float
    learning_seconds: float
    training_seconds: float = 0.0
    """Wall time from the start of the first batch to the end of the last one, without validation."""


class RunCard(Callback, CurriculumObserver):
    """Writes ``run.json`` to the run's folder: data, model, policy, the cost of every stage, and every validation.

    The file is replaced as a whole whenever a stage is planned or validated and when the run ends. Its ``status`` is
    ``running``, ``finished`` or ``stopped by`` an exception. A validation lists each scalar whose name starts with
    ``val/``, with the training and refresh seconds spent by then. The card is part of checkpoints, so that of a
    resumed run holds all stages. Rank zero writes.
    """

    def __init__(self) -> None:
        self.stages: list[StageCost] = []
        self.validations: list[dict[str, Any]] = []
        self._facts: dict[str, Any] = {}
        self._batch_started: float | None = None
        self._folder: Path | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._folder = run_folder(trainer)

    @override
    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        self.stages = [s for s in self.stages if s.stage < report.stage]  # a stage planned again after a resume
        self.stages.append(
            StageCost(
                stage=report.stage,
                step=trainer.global_step,
                available=len(report.store),
                examples=len(report.plan),
                distinct=len(report.distinct),
                tokens=report.tokens,
                overlap=None if report.previous is None else report.overlap,
                scored_tokens=report.scored_tokens,
                scoring_seconds=report.scoring_seconds,
                selecting_seconds=report.selecting_seconds,
                learning_seconds=report.learning.seconds,
            )
        )
        if not self._facts:  # describes the data before stage 0; they may grow
            self._facts = describe_run(trainer)
        self._write(trainer, "running")

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._batch_started is None:
            self._batch_started = time.perf_counter()

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause()

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause()

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        values = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        refreshes = sum(s.scoring_seconds + s.selecting_seconds + s.learning_seconds for s in self.stages)
        entry = {
            "step": trainer.global_step,
            "training_seconds": sum(s.training_seconds for s in self.stages),
            "refresh_seconds": refreshes,
            "metrics": values,
        }
        self.validations = [v for v in self.validations if v["step"] < trainer.global_step] + [entry]
        if self._facts:
            self._write(trainer, "running" if trainer.state.fn == "fit" else "finished")

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._pause()
        if self._facts:
            self._write(trainer, f"stopped by {type(exception).__name__}")

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, "finished")

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"facts": self._facts, "stages": [asdict(s) for s in self.stages], "validations": self.validations}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._facts = dict(state_dict["facts"])
        self.stages = [StageCost(**s) for s in state_dict["stages"]]
        self.validations = list(state_dict["validations"])

    def _pause(self) -> None:
        """Add the seconds since training started or resumed."""
        if self._batch_started is not None and self.stages:
            self.stages[-1].training_seconds += time.perf_counter() - self._batch_started
        self._batch_started = None

    def _write(self, trainer: Trainer, status: str) -> None:
        if not trainer.is_global_zero:
            return
        card = {
            "format": FORMAT,
            "status": status,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            **self._facts,
            "stages": [asdict(s) for s in self.stages],
            "validations": self.validations,
        }
        assert self._folder is not None, "a run was set up before it is described"
        write_atomic(self._folder / "run.json", json.dumps(card, indent=1, ensure_ascii=False) + "\n")


def describe_run(trainer: Trainer) -> dict[str, Any]:
    """Describe what is the same in all stages: data, model, curriculum and machine."""
    data, module = curriculum_data(trainer), trainer.lightning_module
    store, val_store = data.train_store, getattr(data, "val_store", None)
    problems = getattr(data, "problems", None)
    facts: dict[str, Any] = {
        "data": {
            "examples": len(store),
            "validation": len(val_store or ()),
            "hash": content_digest(store),
            "validation_hash": None if val_store is None else content_digest(val_store),
            "batch_size": data.sampler.batch_size,
            "records_read": getattr(problems, "num_read", None),
            "problems": dict(getattr(problems, "counts", {})),
        },
        "model": {
            "class": type(module).__name__,
            "source": getattr(module, "source", None),
            "parameters": sum(p.numel() for p in module.parameters()),
            "trained_parameters": sum(p.numel() for p in module.parameters() if p.requires_grad),
        },
        "machine": {
            "device": str(module.device),
            "ranks": trainer.world_size,
            "precision": str(trainer.precision),
            "packages": {name: installed_version(name) for name in _PACKAGES},
        },
    }
    curriculum = find_curriculum(trainer)
    if curriculum is not None:
        facts["policy"] = {"class": type(curriculum.policy).__name__, "options": options_of(curriculum.policy)}
        facts["metrics"] = {
            name: {
                "formula": m.formula,
                "unit": m.unit,
                "higher_is_harder": m.higher_is_harder,
                "class": type(m).__name__,
                "options": options_of(m),
            }
            for name, m in curriculum.metrics.items()
        }
        facts["seed"] = curriculum.seed
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Configured):
            facts.setdefault("callbacks", {})[type(callback).__name__] = options_of(callback)
    return facts


def installed_version(package: str) -> str | None:
    """Version of a package, or none where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
