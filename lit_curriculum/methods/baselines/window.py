"""A sliding window over a sorted order."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from lit_curriculum.methods.baselines.ordered import Direction, OrderedPolicy, Rescore
from lit_curriculum.types import ExampleStore, FloatArray, IntArray
from lit_curriculum.utils.options import check_range


class WindowPolicy(OrderedPolicy):
    """Train on a window of a sorted order that moves from its start to its end, in random order.

        a = floor((N - M) / (1 + exp(-k (u - 1/2)))),   u = t / (T - 1)

    so the window stays long at either end of the order and crosses its middle fast.

    Args:
        metric: Name of the difficulty metric; its own direction says what is hard.
        fraction: Width of the window as a share of the data (M / N); null where ``count`` is given.
        count: Width of the window in examples (M).
        steepness: Of the sigmoid (k): 10 leaves the window within 1 % of the first place at the start.
        direction: ``easy_to_hard`` or ``hard_to_easy``.
        rescore: Whether the metric is computed once (``never`` again) or with the current model ``each_stage``.

    Raises:
        ValueError: an option is out of range.

    References:
        The window of the selector ``delta_loss`` of DataFlex (0.2 of the data, k = 10), over any metric.
    """

    def __init__(
        self,
        metric: str,
        fraction: float | None = 0.2,
        count: int | None = None,
        steepness: float = 10.0,
        direction: Direction = "easy_to_hard",
        rescore: Rescore = "never",
    ) -> None:
        super().__init__(metric, direction, fraction, count, rescore)
        check_range(self, "(0, inf)", steepness=steepness)
        self.steepness = steepness

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        super().setup(examples, num_stages)
        self._num_stages = num_stages

    def choose(self, order: IntArray, hardness: FloatArray, stage: int, generator: np.random.Generator) -> IntArray:
        progress = stage / (self._num_stages - 1) if self._num_stages > 1 else 0.5
        start = int((len(order) - self._size) * float(expit(self.steepness * (progress - 0.5))) + 1e-9)
        return generator.permutation(order[start : start + self._size])
