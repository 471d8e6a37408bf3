"""Fixed quotas of abilities: the paper's mixtures, and the cells of an ability-growth study."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lit_curriculum.curriculum.base import OWNER, CurriculumPolicy
from lit_curriculum.curriculum.quotas import (
    PAPER_BUDGET,
    PAPER_QUOTAS,
    SelectMode,
    check_counts,
    choose_rows,
    count_abilities,
    recipe_counts,
)
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import CONDITIONED, ExampleStore, IntArray, Plan
from lit_curriculum.utils.options import check_exactly_one, check_range


class AbilityMixturePolicy(CurriculumPolicy):
    """Train on the same chosen rows of each ability in every stage, in a new random order each time.

    Args:
        counts: Rows of each ability; those not named are left out. Null where ``recipe`` is given.
        recipe: ``baseline``, ``reconstruct``, ``maximum`` or ``mix-N`` (see
            :func:`~lit_curriculum.curriculum.quotas.recipe_counts`).
        quotas: Fixed rows of a recipe's abilities that are held back; by default the paper's.
        budget: Rows in all of ``reconstruct``.
        select: Which rows: ``nested``, ``independent`` or ``prefix`` (the paper's recipes: prefix).
        select_seed: Of the choice of rows; not of their order.
        rows_per_stage: Rows that a stage trains on; the chosen rows are passed over again until there are as many.
            By default one pass.
        tokens_per_stage: The same in tokens of whole conversations; as many rows as come closest.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        counts: dict[str, int] | None = None,
        recipe: str | None = None,
        quotas: dict[str, int] | None = None,
        budget: int = PAPER_BUDGET,
        select: SelectMode = "nested",
        select_seed: int = 0,
        rows_per_stage: int | None = None,
        tokens_per_stage: int | None = None,
    ) -> None:
        check_exactly_one(self, counts=counts, recipe=recipe)
        if counts is not None and sum(counts.values()) < 1:
            raise ValueError(f"{OWNER}.counts asks for no rows at all; give at least one ability a count.")
        if rows_per_stage is not None and tokens_per_stage is not None:
            raise ValueError(f"{OWNER}: give at most one of rows_per_stage and tokens_per_stage.")
        check_range(self, "[1, inf)", rows_per_stage=rows_per_stage, tokens_per_stage=tokens_per_stage)
        self.counts, self.recipe = counts, recipe
        self.quotas = dict(PAPER_QUOTAS) if quotas is None else quotas
        self.budget = budget
        self.select: SelectMode = select
        self.select_seed = select_seed
        self.rows_per_stage, self.tokens_per_stage = rows_per_stage, tokens_per_stage

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        available = count_abilities(examples.abilities)
        if self.counts is not None:
            counts = self.counts
            check_counts(counts, available)
        else:
            assert self.recipe is not None
            counts = recipe_counts(self.recipe, available, self.quotas, self.budget)
        self.chosen: dict[str, IntArray] = choose_rows(
            examples.abilities, examples.content_hashes, counts, self.select, self.select_seed
        )
        self._rows = np.concatenate([self.chosen[a] for a in sorted(self.chosen)])
        self._size = self.rows_per_stage or len(self._rows)
        if self.tokens_per_stage is not None:
            mean = float(examples.lengths(CONDITIONED)[self._rows].mean())
            self._size = max(1, round(self.tokens_per_stage / mean))

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        return [self._size] * num_stages

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        del table, stage
        passes = -(-self._size // len(self._rows))
        order = np.concatenate([generator.permutation(self._rows) for _ in range(passes)])[: self._size]
        scalars = {f"n_unique/{a}": float(len(rows)) for a, rows in self.chosen.items()}
        return Plan(indices=order, scalars={"selected": float(len(order)), **scalars})
