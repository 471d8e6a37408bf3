"""Growth studies with planted transfer."""

from __future__ import annotations

import numpy as np

from lit_curriculum.methods.doit.study.growth_records import GrowthRecord
from tests.methods.doit.growth_records import record

RUNGS = (4, 16, 64, 256)


PLANTED = {("a", "a"): 0.1, ("a", "b"): 0.05, ("b", "a"): 0.0, ("b", "b"): 0.15}


def measured(arm: str, ability: str, rung: int, p: float, seed: int = 0, items: int = 400) -> GrowthRecord:
    """A share p of the items is right, the same luck of an item everywhere."""
    luck = np.random.default_rng([seed, ord(ability)]).permutation((np.arange(items) + 0.5) / items)
    hits = luck < p
    return record(rung=rung, correct=int(hits.sum()), total=items, split="test", seed=seed, ability=ability, arm=arm,
                  selected=True, chance_sum=0.2 * items, outcomes="".join("01"[int(h)] for h in hits),
                  item_nll=tuple(2.0 - p + 0.1 * luck))  # fmt: skip


def study() -> list[GrowthRecord]:
    """Chance is 0.2; scores are in points above chance, over 0.8."""
    alone = [
        measured(f"alone:{a}", b, n, 0.2 + 0.8 * (0.1 + slope * i), seed)
        for (a, b), slope in PLANTED.items() for i, n in enumerate(RUNGS) for seed in (0, 1)
    ]  # fmt: skip
    base = [measured("base", ability, 0, 0.2, seed) for ability in "ab" for seed in (0, 1)]
    everything = [measured("curated", ability, 256, 0.8, seed) for ability in "ab" for seed in (0, 1)]
    without = [measured("without:a", "a", 256, 0.5, seed) for seed in (0, 1)]
    return alone + base + everything + without + [measured("without:b", "b", 256, 0.2, seed) for seed in (0, 1)]
