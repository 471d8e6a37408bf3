"""Training losses as scores: the losses that a training step computes anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import FloatArray, IntArray
from lit_curriculum.utils.distributed import rank_and_world
from lit_curriculum.utils.float64 import to_float64

_FORMULA = "nll-mean/1"
_KEYS = ("index", "nll_sum", "num_scored")
_FLUSH = 256


def check_training_loss_metric(name: str, metrics: Mapping[str, DifficultyMetric]) -> None:
    """Refuse a metric whose formula is not the one of the training losses.

    Raises:
        ValueError: there is no such metric, or it is not the mean token loss.
    """
    if name not in metrics:
        raise ValueError(
            f"curriculum.training_loss_metric={name!r} is none of curriculum.metrics {sorted(metrics)}; name one."
        )
    formula = metrics[name].formula
    if formula != _FORMULA:
        raise ValueError(
            f"curriculum.training_loss_metric={name!r} has formula {formula}, but training computes {_FORMULA}; name a "
            "metric of class NegativeLogLikelihood."
        )


def has_losses(outputs: Any) -> bool:
    """Whether a training step has returned the losses of its examples."""
    return isinstance(outputs, Mapping) and all(key in outputs for key in _KEYS)


class TrainingLossCollector:
    """Collects per-example losses from training steps, and enters them into the table when a stage is over.

    They come from the forward pass of training: before the step that the example took part in, and with dropout if
    the model has any. ``scored_at`` is the stage that was trained. Of several losses of an example in one stage the
    last counts. The device is synchronised once in 256 batches.
    """

    def __init__(self) -> None:
        self._batches: list[Tensor] = []
        self._kept = torch.zeros(3, 0, dtype=torch.float64)

    def add(self, outputs: Any) -> None:
        """Collect the output of a training step; called on every rank at every step.

        Args:
            outputs: Holds ``index``, ``nll_sum`` and ``num_scored``, each [B].

        Raises:
            ValueError: the training step returns something else.
        """
        if not has_losses(outputs):
            raise ValueError(
                "curriculum.training_loss_metric needs a training_step that returns index, nll_sum and num_scored of "
                "each example beside the loss, as CausalLMModule does; set it to null for this model."
            )
        rows = torch.stack([to_float64(outputs[key].detach()) for key in _KEYS])
        world_size = rank_and_world()[1]
        if world_size > 1:
            # Now and not at the end of the stage, so that a checkpoint of any rank knows them all.
            parts = [torch.empty_like(rows) for _ in range(world_size)]
            dist.all_gather(parts, rows.contiguous())
            rows = torch.cat(parts, dim=1)
        self._batches.append(rows)
        if len(self._batches) >= _FLUSH:
            self._flush()

    def enter(self, table: DifficultyTable, metric: str, stage: int) -> int:
        """Move the mean losses of stage ``stage`` into the column ``metric``; returns their number.

        Raises:
            ValueError: a loss is NaN or infinite.
        """
        indices, values = self.take()
        broken = ~np.isfinite(values)
        if broken.any():
            raise ValueError(
                f"curriculum.training_loss_metric={metric!r}: {int(broken.sum())} of {len(values)} training losses of "
                f"stage {stage} are NaN or infinite, the first of example index {int(indices[broken][0])}; lower the "
                "learning rate, or resume from an earlier checkpoint."
            )
        table.enter(metric, indices, values, stage)
        return len(indices)

    def take(self) -> tuple[IntArray, FloatArray]:
        """Remove and return the examples [K], in rising order, and their last mean losses [K]."""
        self._flush()
        index, nll_sum, num_scored = self._kept.numpy()
        self._kept = self._kept[:, :0]
        scored = num_scored > 0
        index, values = index[scored].astype(np.int64), nll_sum[scored] / num_scored[scored]
        unique, last = np.unique(index[::-1], return_index=True)
        return unique, values[::-1][last]

    def state_dict(self) -> dict[str, Tensor]:
        """The losses that were collected in the stage so far."""
        self._flush()
        return {"rows": self._kept.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore :meth:`state_dict`."""
        self._batches = []
        self._kept = state["rows"].clone()

    def _flush(self) -> None:
        if self._batches:
            self._kept = torch.cat([self._kept, torch.cat(self._batches, dim=1).cpu()], dim=1)
            self._batches = []
