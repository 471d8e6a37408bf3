"""What a growth study trains on: abilities, mixtures, and the ladder of volumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.curriculum.quotas import SYNTHETIC, SelectMode, check_counts, choose_rows, recipe_counts
from lit_curriculum.types import IntArray

PAPER_LADDER = (1, 4, 16, 64, 256, 1000)
"""Rows of each ability, rung by rung: steps of four, the last cut to what there is."""
Match = Literal["epochs", "updates", "tokens"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AbilitySpec:
    """One ability of a study."""

    key: str
    available: int
    """Rows that there are to train on."""
    title: str = ""
    group: str = "in_domain"
    """``in_domain`` or ``ood``."""
    weight: float = 1.0
    """Worth w_a of a point, for allocation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixturePlan:
    """How many rows of each ability one cell trains on, and how they are chosen."""

    counts: Mapping[str, int]
    select: SelectMode = "nested"
    seed: int = 0
    provenance: str = ""

    @property
    def total(self) -> int:
        """Rows of all abilities."""
        return sum(self.counts.values())

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits over counts, mode and seed; the listing order changes nothing."""
        text = json.dumps([sorted(self.counts.items()), self.select, self.seed])
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    def rows(self, abilities: Sequence[str | None], content_hashes: NDArray[np.bytes_]) -> dict[str, IntArray]:
        """Indices of the rows of each ability; see :func:`~lit_curriculum.curriculum.quotas.choose_rows`."""
        return choose_rows(abilities, content_hashes, self.counts, self.select, self.seed)


def recipe(name: str, specs: Sequence[AbilitySpec], seed: int = 0) -> MixturePlan:
    """One of the paper's sets over ``specs``; rows are the first of each file, as the paper takes them.

    Raises:
        ValueError: there is no such recipe, or too few rows for it.
    """
    counts = recipe_counts(name, {s.key: s.available for s in specs})
    return MixturePlan(counts=counts, select="prefix", seed=seed, provenance=f"arXiv 2310.19651, {name}")


def ladder(
    specs: Sequence[AbilitySpec],
    rungs: Sequence[int] = PAPER_LADDER,
    select: SelectMode = "nested",
    seed: int = 0,
    pooled: bool = False,
) -> list[MixturePlan]:
    """A plan for each rung.

    Args:
        specs: The abilities.
        rungs: Rows of each ability.
        select: How rows are chosen.
        seed: Of the choice.
        pooled: Draw the same totals from the pooled ability ``synthetic`` in place of the abilities one by one.

    Raises:
        ValueError: an ability has fewer rows than a rung asks for.
    """
    available = {s.key: s.available for s in specs}
    keys = sorted(set(available) - {SYNTHETIC})
    plans = []
    for n in rungs:
        counts = {SYNTHETIC: n * len(keys)} if pooled else dict.fromkeys(keys, n)
        check_counts(counts, available)
        plans.append(MixturePlan(counts=counts, select=select, seed=seed, provenance=f"ladder, {n} an ability"))
    return plans
