"""What is not a scalar, to every logger that can show it: figures, texts, histograms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from matplotlib.figure import Figure

from lit_curriculum.types import FloatArray

Layout = dict[str, dict[str, tuple[str, list[str]]]]
"""Category -> chart -> kind and tags, which are regular expressions."""
_BINS = 64
_LAYOUTS: WeakKeyDictionary[Logger, Layout] = WeakKeyDictionary()


def log_scalars(trainer: Trainer, scalars: dict[str, float]) -> None:
    """Scalars to all loggers, at the trainer's step."""
    for logger in trainer.loggers:
        logger.log_metrics(scalars, step=trainer.global_step)


def log_histogram(trainer: Trainer, tag: str, values: FloatArray, stage: int) -> None:
    """Log a histogram to TensorBoard and Weights & Biases; for other loggers the caller logs quartiles as scalars."""
    for logger in _writing(trainer) if len(values) else ():
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_histogram(tag, values, stage)
        elif isinstance(logger, WandbLogger):
            from wandb import Histogram  # there is one where there is such a logger

            counted: Any = Histogram(np_histogram=np.histogram(values, bins=_BINS))
            logger.log_metrics({tag: counted}, step=trainer.global_step)


def log_figure(trainer: Trainer, tag: str, figure: Figure, stage: int) -> None:
    """A figure to TensorBoard, and to loggers with ``log_image`` as those of Weights & Biases and MLflow have."""
    for logger in _writing(trainer):
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_figure(tag, figure, stage)
        elif callable(log_image := getattr(logger, "log_image", None)):
            log_image(key=tag, images=[figure], step=trainer.global_step)


def log_rows(trainer: Trainer, tag: str, columns: Sequence[str], rows: Sequence[Sequence[str]], stage: int) -> None:
    """A table of texts to TensorBoard, and to loggers with ``log_text`` as that of Weights & Biases has."""
    for logger in _writing(trainer):
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text(tag, _markdown(columns, rows), stage)
        elif callable(log_text := getattr(logger, "log_text", None)):
            log_text(key=tag, columns=list(columns), data=[list(row) for row in rows], step=trainer.global_step)


def add_layout(trainer: Trainer, layout: Layout) -> None:
    """More categories for TensorBoard's page of custom scalars; one that there is already is replaced."""
    for logger in _writing(trainer):
        if isinstance(logger, TensorBoardLogger):
            # Of several layouts of a run only the last one is shown.
            shown = _LAYOUTS[logger] = {
                **layout,
                **{c: v for c, v in _LAYOUTS.get(logger, {}).items() if c not in layout},
            }
            charts = {c: {n: list(chart) for n, chart in of.items()} for c, of in shown.items()}
            logger.experiment.add_custom_scalars(charts)


def _writing(trainer: Trainer) -> Iterator[Logger]:
    """The loggers, on rank zero alone."""
    if trainer.is_global_zero:
        yield from trainer.loggers


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(columns), ["---"] * len(columns), *([_cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
