"""Sorted abilities, interleaved or in blocks."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lit_curriculum.curriculum.base import OWNER
from lit_curriculum.methods.baselines.ordered import Direction, OrderedPolicy, Rescore
from lit_curriculum.types import ExampleStore, FloatArray, IntArray

Grouping = Literal["interleaved", "blocked"]


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
