"""Orders by one metric: easy to hard or hard to easy, interleaved, and a sliding window."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.special import expit

from lit_curriculum.curriculum.base import OWNER
from lit_curriculum.curriculum.ordering import highest_first
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.single_metric import SingleMetricPolicy
from lit_curriculum.types import ExampleStore, FloatArray, IntArray, Plan
from lit_curriculum.utils.options import check_range

Direction = Literal["easy_to_hard", "hard_to_easy"]
Rescore = Literal["never", "each_stage"]
Grouping = Literal["interleaved", "blocked"]


class OrderedPolicy(SingleMetricPolicy):
    """Train on the examples sorted by one metric, or on the front of that order.

    Ties go by content hash. Examples that the metric cannot score come last, and their number is logged.

    Args:
        metric: Name of the difficulty metric; its own direction says what is hard.
        direction: ``easy_to_hard`` or ``hard_to_easy``.
        fraction: Share of the data that a stage trains on, from the front of the order; null where ``count`` is
            given. Hard to easy by length, a small share is the baseline of the longest responses.
        count: Number of examples that a stage trains on.
        rescore: Whether the metric is computed once (``never`` again) or with the current model ``each_stage``.
        baseline: Name of a metric that is taken off: with the loss of a reference model under this name and the loss
            of the model in training as ``metric``, it is the reducible loss of RHO-LOSS. An example that lacks either
            score has none. Computed once.
        tokens: Number of tokens that a stage trains on, in place of ``fraction`` and ``count``.

    Raises:
        ValueError: an option is out of range.

    References:
        Mindermann et al. 2022, arXiv 2206.07137, equation 3 (with ``baseline``).
    """

    def __init__(
        self,
        metric: str,
        direction: Direction = "easy_to_hard",
        fraction: float | None = 1.0,
        count: int | None = None,
        rescore: Rescore = "never",
        baseline: str | None = None,
        tokens: int | None = None,
    ) -> None:
        super().__init__(metric, fraction, count, tokens)
        self.direction, self.rescore, self.baseline = direction, rescore, baseline

    @property
    def required_metrics(self) -> tuple[str, ...]:
        return (self.metric,) if self.baseline is None else (self.metric, self.baseline)

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        if stage == 0 or self.rescore == "never":
            never = [table.never_scored(metric) for metric in self.required_metrics]
            return np.flatnonzero(np.any(never, axis=0))
        return np.flatnonzero(~table.unscorable(self.metric))

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        hardness = self.hardness(table)
        order = highest_first(hardness if self.direction == "hard_to_easy" else -hardness, self._tie_rank)
        chosen = self.choose(order, hardness, stage, generator)
        scalars = {
            "selected": float(len(chosen)),
            "unscorable": float(np.isnan(hardness).sum()),
            "unscorable_selected": float(np.isnan(hardness[chosen]).sum()),
        }
        return Plan(indices=chosen, scalars=scalars)

    def hardness(self, table: DifficultyTable) -> FloatArray:
        """Sort key [N], higher is harder; NaN without a score."""
        for metric in self.required_metrics:
            assert not table.never_scored(metric).any(), "step was called before candidates were scored"
        values = table.hardness(self.metric)
        return values if self.baseline is None else values - table.hardness(self.baseline)

    def choose(self, order: IntArray, hardness: FloatArray, stage: int, generator: np.random.Generator) -> IntArray:
        """Choose the entries [M] of ``stage`` from the whole ``order`` [N] in the chosen direction."""
        del hardness, stage, generator
        return self.size.cut(order, len(order))


class InterleavedPolicy(OrderedPolicy):
    """Sort each ability by one metric, and interleave the abilities or train on them in blocks.

    With r = 0, 1, ... the place of an example among the n of its ability, in the chosen direction, ``interleaved``
    sorts all examples by (r + 1/2) / n, so that every ability advances through its own difficulties at the same pace,
    whatever its size. ``blocked`` trains on one ability after the other, the one of the smallest mean hardness first
    (of the largest, hard to easy). Ties go by content hash; examples without a score come last in their ability.

    Args:
        metric: Name of the difficulty metric; its own direction says what is hard.
        grouping: ``interleaved`` or ``blocked``.
        direction: ``easy_to_hard`` or ``hard_to_easy``.
        rescore: Whether the metric is computed once (``never`` again) or with the current model ``each_stage``.

    Raises:
        ValueError: an option is out of range, or the data have examples without an ability.

    References:
        Lee et al. 2024, "Instruction Tuning with Human Curriculum" (CORGI), arXiv 2310.09518: there concepts of
        several subjects, interleaved by level of Bloom's taxonomy, against blocks of subjects.
    """

    def __init__(
        self,
        metric: str,
        grouping: Grouping = "interleaved",
        direction: Direction = "easy_to_hard",
        rescore: Rescore = "never",
    ) -> None:
        super().__init__(metric, direction, rescore=rescore)
        self.grouping: Grouping = grouping

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        super().setup(examples, num_stages)
        names = list(examples.abilities)
        if None in names:
            index = names.index(None)
            raise ValueError(
                f"{OWNER}: InterleavedPolicy groups by ability, but example {examples[index].id!r} "
                f"({examples[index].source}) has none; give every record a field ability."
            )
        self._group = np.unique(np.array(names, dtype=str), return_inverse=True)[1]

    def choose(self, order: IntArray, hardness: FloatArray, stage: int, generator: np.random.Generator) -> IntArray:
        group = self._group[order]
        members = [np.flatnonzero(group == g) for g in range(group.max() + 1)]
        if self.grouping == "interleaved":
            place = np.empty(len(order))
            for mine in members:
                place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
            by_place: IntArray = order[np.lexsort((self._tie_rank[order], place))]
            return by_place
        sign = -1.0 if self.direction == "hard_to_easy" else 1.0
        means = []
        for mine in members:
            values = hardness[order[mine]]
            known = values[np.isfinite(values)]
            means.append(sign * known.mean() if len(known) else np.inf)  # without any score: last
        in_blocks: IntArray = order[np.concatenate([members[g] for g in np.argsort(means, kind="stable")])]
        return in_blocks


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
