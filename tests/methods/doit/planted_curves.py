"""Growth curves with known parameters."""

from __future__ import annotations

import numpy as np

from lit_curriculum.methods.doit.study.growth_records import GrowthRecord
from tests.methods.doit.growth_records import record

N = np.array([1.0, 4.0, 16.0, 64.0, 256.0, 1024.0])


def planted(slope: float, items: int, start: float = 0.3, seeds: int = 1, ability: str = "a") -> list[GrowthRecord]:
    """Test records whose items pass with probability ``start + slope x``, the same luck of an item at every rung."""
    found = []
    for seed in range(seeds):
        luck = np.random.default_rng([seed, items]).permutation((np.arange(items) + 0.5) / items)
        for i, n in enumerate(N):
            hits = luck < start + slope * i
            found.append(
                record(rung=int(n), correct=int(hits.sum()), total=items, split="test", seed=seed, ability=ability,
                       selected=True, chance_sum=0.0, outcomes="".join("01"[int(h)] for h in hits),
                       item_nll=tuple(1.0 - 0.1 * i + 0.01 * float(v) for v in luck))
            )  # fmt: skip
    return found
