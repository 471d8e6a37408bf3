"""Log figures, texts, histograms and final values to every logger that can show them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from matplotlib.figure import Figure

from lit_curriculum.types import FloatArray

Options = dict[str, str | int | float | bool]
Layout = dict[str, dict[str, tuple[str, list[str]]]]
"""Category -> chart -> kind and tags, which are regular expressions."""
_BINS = 64
_LAYOUTS: WeakKeyDictionary[Logger, Layout] = WeakKeyDictionary()


def log_scalars(trainer: Trainer, scalars: dict[str, float], step: int | None = None) -> None:
    """Log scalars to all loggers, by default at the trainer's step."""
    for logger in trainer.loggers:
        logger.log_metrics(scalars, step=trainer.global_step if step is None else step)


def log_histogram(trainer: Trainer, tag: str, values: FloatArray, stage: int) -> None:
    """Log a histogram to TensorBoard and Weights & Biases."""
    for logger in _loggers(trainer) if len(values) else ():
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_histogram(tag, values, stage)
        elif isinstance(logger, WandbLogger):
            from wandb import Histogram  # installed where there is such a logger

            counted: Any = Histogram(np_histogram=np.histogram(values, bins=_BINS))
            logger.log_metrics({tag: counted}, step=trainer.global_step)


def log_figure(trainer: Trainer, tag: str, draw: Callable[[], Figure], stage: int) -> None:
    """Log a figure to TensorBoard, and to loggers with ``log_image`` such as those of Weights & Biases and MLflow.

    Args:
        trainer: The trainer.
        tag: Name of the figure.
        draw: Makes the figure; called only where a logger shows it.
        stage: Number of the stage, the step in TensorBoard.
    """
    for logger in _loggers(trainer):
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_figure(tag, draw(), stage)
        elif callable(log_image := getattr(logger, "log_image", None)):
            log_image(key=tag, images=[draw()], step=trainer.global_step)


def log_rows(trainer: Trainer, tag: str, columns: Sequence[str], rows: Sequence[Sequence[str]], stage: int) -> None:
    """Log a table of texts to TensorBoard, and to loggers with ``log_text`` such as that of Weights & Biases."""
    for logger in _loggers(trainer):
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text(tag, _markdown(columns, rows), stage)
        elif callable(log_text := getattr(logger, "log_text", None)):
            log_text(key=tag, columns=list(columns), data=[list(row) for row in rows], step=trainer.global_step)


def log_final_values(trainer: Trainer, options: Options, values: Mapping[str, float]) -> None:
    """Log a run's options and final values to TensorBoard's table of runs."""
    for logger in _loggers(trainer):
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(dict(options), dict(values), step=trainer.global_step)


def add_layout(trainer: Trainer, layout: Layout) -> None:
    """Add categories to TensorBoard's page of custom scalars; a category of the same name is replaced."""
    for logger in _loggers(trainer):
        if isinstance(logger, TensorBoardLogger):
            # TensorBoard shows only the last layout of a run, so each holds the earlier ones.
            shown = _LAYOUTS[logger] = {
                **layout,
                **{c: v for c, v in _LAYOUTS.get(logger, {}).items() if c not in layout},
            }
            charts = {c: {n: list(chart) for n, chart in of.items()} for c, of in shown.items()}
            logger.experiment.add_custom_scalars(charts)


def _loggers(trainer: Trainer) -> Iterator[Logger]:
    """The loggers on rank zero, none on the other ranks."""
    if trainer.is_global_zero:
        yield from trainer.loggers


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(columns), ["---"] * len(columns), *([_cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
