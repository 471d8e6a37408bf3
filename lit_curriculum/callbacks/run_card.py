"""What a run was, what it cost and what it reached, in one small file that a report reads without torch."""

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
from lit_curriculum.loop.callback import CurriculumCallback
from lit_curriculum.loop.checks import curriculum_data
from lit_curriculum.loop.hooks import CurriculumObserver
from lit_curriculum.loop.planner import StageReport
from lit_curriculum.utils.files import write_atomic
from lit_curriculum.utils.options import Configured, options_of

FORMAT = 1
_PACKAGES = ("lit-curriculum", "torch", "lightning", "transformers")


@dataclass(slots=True)
class StageCost:
    """One stage: what was planned, and what it took."""

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
    """Wall time from the start of the first batch to the end of the last one, validation left out."""


class RunCard(Callback, CurriculumObserver):
    """Writes ``run.json`` beside the run's log: data, model, policy, every stage's cost, every validation.

    The file is rewritten, whole or not at all, whenever a stage is planned or validated and when the run ends; its
    ``status`` is ``running``, ``finished`` or says what stopped it. Validations list each scalar whose name starts
    with ``val/``, with the training and refresh seconds that had been spent by then. The card goes with checkpoints, so
    a continued run's card holds all its stages. Rank zero writes.

    Args:
        dirpath: Folder to write to; by default the logger's folder, or the trainer's root folder without a logger.
    """

    def __init__(self, dirpath: str | None = None) -> None:
        self.dirpath = dirpath
        self.stages: list[StageCost] = []
        self.validations: list[dict[str, Any]] = []
        self._facts: dict[str, Any] = {}
        self._batch_started: float | None = None
        self._folder: Path | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # The log's folder is rank zero's, which all ranks have to ask for.
        self._folder = Path(self.dirpath or trainer.log_dir or trainer.default_root_dir)

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
        if not self._facts:  # of the data as they were at first; a stage says how many there are by then
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
        spent = sum(s.scoring_seconds + s.selecting_seconds + s.learning_seconds for s in self.stages)
        entry = {
            "step": trainer.global_step,
            "training_seconds": sum(s.training_seconds for s in self.stages),
            "refresh_seconds": spent,
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
        """Enter the seconds since training last began or resumed."""
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
    """What is the same from the first stage to the last: data, model, curriculum, machine."""
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
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, CurriculumCallback):
            policy = callback.policy
            facts["policy"] = {"class": type(policy).__name__, "options": options_of(policy)}
            facts["metrics"] = {
                name: {
                    "formula": m.formula,
                    "unit": m.unit,
                    "higher_is_harder": m.higher_is_harder,
                    "class": type(m).__name__,
                    "options": options_of(m),
                }
                for name, m in callback.metrics.items()
            }
            facts["seed"] = callback.seed
        elif isinstance(callback, Configured):
            facts.setdefault("callbacks", {})[type(callback).__name__] = options_of(callback)
    return facts


def installed_version(package: str) -> str | None:
    """Version of a package, or none where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
