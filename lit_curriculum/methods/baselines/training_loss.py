"""Base class of policies that read the loss of every example, from training or from a refresh."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.curriculum.ordering import content_ranks
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import ExampleStore, FloatArray, IntArray

LossSource = Literal["training", "refresh"]

_OWNER = "curriculum.policy"


class TrainingLossPolicy(CurriculumPolicy):
    """Base class of policies that read one loss of every example.

    Args:
        metric: Name of the loss, or of another metric that is harder where it is higher.
        losses: ``training`` takes what training left in the table (``curriculum.training_loss_metric`` has to name the
            metric), which costs nothing, is as old as an example's last turn, and is not there before the first stage;
            ``refresh`` scores all examples before every stage.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(self, metric: str, losses: LossSource) -> None:
        self.metric = metric
        self.losses: LossSource = losses

    @property
    def required_metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        self._num_examples = len(examples)
        self._tie_rank = content_ranks(examples.content_hashes)
        self._by_content = np.argsort(self._tie_rank)  # so that a draw does not depend on the order of the file

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        if self.losses == "training":
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(~table.unscorable(self.metric))

    def known_losses(self, table: DifficultyTable, stage: int) -> FloatArray:
        """Losses [N]; NaN where there is none yet.

        Raises:
            ValueError: training should have left losses by now and has not.
        """
        values = table.hardness(self.metric)
        if self.losses == "training" and stage > 0 and not np.isfinite(values).any():
            raise ValueError(
                f"{_OWNER}.losses=training, but a stage has been trained and left no loss under {self.metric!r}; set "
                f"curriculum.training_loss_metric to {self.metric}, or {_OWNER}.losses to refresh."
            )
        return values
