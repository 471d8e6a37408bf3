"""Diversity-based selection, with or without a score as priority."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lit_curriculum.curriculum.base import OWNER, CurriculumPolicy, check_same_data
from lit_curriculum.curriculum.ordering import StageSize, content_ranks, highest_first
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.diversity.base import Diversity, Pool
from lit_curriculum.methods.baselines.top import below_limit, check_scored
from lit_curriculum.types import ExampleStore, FloatArray, IntArray, Plan
from lit_curriculum.utils.options import check_range


class CoveragePolicy(CurriculumPolicy):
    """Select once for diversity among the examples of highest priority; reshuffle at every stage.

    The priority of an example is the product of its scores by the metrics named. Examples without a score, or with a
    product not below ``below``, are left out. The rule chooses from the ``shortlist`` of highest priority. It may
    choose fewer than asked for; the stage is shorter then. A rule sees the examples in the order of their content
    hashes, so the choice does not depend on file order.

    Args:
        diversity: The rule.
        priority: Names of the metrics whose product is the priority; none prefers nothing.
        fraction: Share of the data that a stage trains on; null where one of the next two is given.
        count: Number of examples that a stage trains on.
        tokens: Number of tokens that a stage trains on.
        shortlist: Share of the data, by highest priority, that the rule chooses from; null for all of it.
        below: Only priorities strictly below, or null; 1 for IFD.

    Raises:
        ValueError: an option is out of range, or (in ``step``) there are no scores yet or no example is left.
    """

    def __init__(
        self,
        diversity: Diversity,
        priority: list[str] | None = None,
        fraction: float | None = 0.1,
        count: int | None = None,
        tokens: int | None = None,
        shortlist: float | None = None,
        below: float | None = None,
    ) -> None:
        self.size = StageSize(fraction, count, tokens)
        check_range(self, "(0, 1]", shortlist=shortlist)
        if shortlist is not None and not priority:
            raise ValueError(f"{OWNER}.shortlist={shortlist} needs a score; name one in {OWNER}.priority.")
        self.diversity, self.priority = diversity, list(priority or [])
        self.fraction, self.count, self.tokens = fraction, count, tokens
        self.shortlist, self.below = shortlist, below
        self._chosen: IntArray = np.empty(0, dtype=np.int64)

    @property
    def required_metrics(self) -> tuple[str, ...]:
        return tuple(self.priority)

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        self.size.setup(examples)
        self._examples, self._tie_rank = examples, content_ranks(examples.content_hashes)

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        return [self.size.planned(num_examples)] * num_stages

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        wanted = np.zeros(table.num_examples, dtype=np.bool_)
        if stage == 0:
            for metric in self.priority:
                wanted |= table.never_scored(metric)
        return np.flatnonzero(wanted)

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        scalars: dict[str, float] = {}
        if stage == 0:
            pool = self._pool(table, stage)
            size = self.size.most(pool.indices, table.num_examples)
            order = pool.indices[self.diversity.choose(pool, size, generator)]
            self._chosen = self.size.cut(order, table.num_examples)
            scalars |= {"pool": float(len(pool))}
        scalars |= {"selected": float(len(self._chosen))}
        return Plan(indices=generator.permutation(self._chosen), scalars=scalars)

    def _pool(self, table: DifficultyTable, stage: int) -> Pool:
        n = table.num_examples
        priority: FloatArray | None = None
        eligible = np.arange(n)
        check_scored(table, self.priority, stage)
        if self.priority:
            scores = np.stack([table.scores[metric] for metric in self.priority])
            negative = (scores < 0).any(axis=0)
            if len(self.priority) > 1 and negative.any():
                worst = self._examples[int(np.flatnonzero(negative)[0])]
                raise ValueError(
                    f"{OWNER}.priority multiplies {' and '.join(self.priority)}, but one of these is negative for "
                    f"example {worst.id} ({worst.source}); name metrics that never are."
                )
            priority = scores.prod(axis=0)
            eligible = below_limit(priority, self.below)
        if not len(eligible):
            raise ValueError(
                f"no example is left to choose from at stage {stage}: all {n} priorities by {self.priority} are "
                f"missing or not below {OWNER}.below={self.below}; raise it."
            )
        if self.shortlist is not None and priority is not None:
            kept = highest_first(priority[eligible], self._tie_rank[eligible])
            eligible = eligible[kept[: max(1, int(self.shortlist * n + 1e-9))]]
        eligible = eligible[np.argsort(self._tie_rank[eligible])]
        return Pool(store=self._examples, indices=eligible, priority=None if priority is None else priority[eligible])

    def state_dict(self) -> dict[str, Any]:
        return {"num_examples": len(self._tie_rank), "chosen": torch.from_numpy(self._chosen.copy())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_same_data("selection", f"{state['num_examples']} examples", f"{len(self._tie_rank)} examples")
        self._chosen = state["chosen"].numpy().copy()
