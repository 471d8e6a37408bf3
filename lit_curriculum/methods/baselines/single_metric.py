"""Base classes of policies that read one metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lit_curriculum.curriculum.base import OWNER, CurriculumPolicy
from lit_curriculum.curriculum.ordering import StageSize, content_ranks
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import ExampleStore, FloatArray, IntArray

LossSource = Literal["training", "refresh"]


class SingleMetricPolicy(CurriculumPolicy):
    """Base class of policies of one metric and one stage size; subclasses implement the choice.

    Args:
        metric: Name of the difficulty metric.
        fraction: Share of the data that a stage trains on; null where ``count`` is given.
        count: Number of examples that a stage trains on.
        tokens: Number of tokens that a stage trains on, for policies that choose without repeats.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(self, metric: str, fraction: float | None, count: int | None, tokens: int | None = None) -> None:
        self.size = StageSize(fraction, count, tokens)
        self.metric, self.fraction, self.count, self.tokens = metric, fraction, count, tokens

    @property
    def required_metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        self.size.setup(examples)
        self._size = self.size.planned(len(examples))
        self._tie_rank = content_ranks(examples.content_hashes)

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        return [self.size.planned(num_examples)] * num_stages


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
                f"{OWNER}.losses=training, but a stage has been trained and left no loss under {self.metric!r}; set "
                f"curriculum.training_loss_metric to {self.metric}, or {OWNER}.losses to refresh."
            )
        return values
