"""What a run was, in a flat table that loggers compare runs by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from lit_curriculum.callbacks.checks import curriculum_data
from lit_curriculum.callbacks.curriculum import CurriculumCallback
from lit_curriculum.callbacks.growth import AbilityGrowthTracker
from lit_curriculum.callbacks.resume import options_of

_REACHED = ("train/loss", "val/loss", "val/accuracy")

Options = dict[str, str | int | float | bool]


def options_of_run(trainer: Trainer, module: LightningModule, curriculum: CurriculumCallback) -> Options:
    """Policy with its options, metrics, seed, stages, batch, data and model, under their names in yaml."""
    data, policy = curriculum_data(trainer), curriculum.policy
    return {
        "curriculum.policy": type(policy).__name__, **dict(_flat("curriculum.policy", options_of(policy))),
        **{f"curriculum.metrics.{name}": m.formula for name, m in curriculum.metrics.items()},
        "curriculum.seed": curriculum.seed, "data.batch_size": data.sampler.batch_size,
        "data.examples": len(data.train_store), "trainer.max_epochs": trainer.max_epochs or 0,
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches,
        "model.source": str(getattr(module, "source", None) or type(module).__name__),
        "model.parameters": sum(p.numel() for p in module.parameters()),
    }  # fmt: skip


def log_options(trainer: Trainer, options: Options) -> None:
    """To every logger but TensorBoard, whose table wants them with what the run has reached."""
    for logger in trainer.loggers:
        if trainer.is_global_zero and not isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(options)


def log_reached(trainer: Trainer, options: Options) -> None:
    """To TensorBoard's table of runs; a growth tracker enters its own means there, and a run has one line."""
    callbacks: list[object] = trainer.callbacks  # type: ignore[attr-defined]
    if not trainer.is_global_zero or any(isinstance(c, AbilityGrowthTracker) for c in callbacks):
        return
    reached = {name: float(trainer.callback_metrics[name]) for name in _REACHED if name in trainer.callback_metrics}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger) and reached:
            logger.log_hyperparams(dict(options), reached, step=trainer.global_step)


def _flat(name: str, value: Any) -> Iterator[tuple[str, str | int | float | bool]]:
    """Nested options by names with dots; what is no number stays as text, and what is not set is left out."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    elif value is not None:
        yield name, value if isinstance(value, (str, int, float, bool)) else str(value)
