"""How many stages a banded run can take, and how long they are, before a single choice is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Clock = Literal["per_schedule", "shared"]
Bands = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BandedRun:
    """What the lengths of a run over the bands of several schedules of the same data depend on."""

    bands: Bands
    """Places ``(lo, hi)`` of the bands of every schedule."""
    num_schedules: int
    clock: Clock
    exclude_seen: bool

    @property
    def num_examples(self) -> int:
        """Size of the data (N)."""
        return self.bands[-1][1]

    @property
    def round_examples(self) -> int:
        """Examples trained on until no schedule has a band left."""
        once = self.clock == "shared" or self.exclude_seen
        return self.num_examples if once else self.num_examples * self.num_schedules

    def most_stages(self, budget: int) -> int:
        """Stages at most until ``budget`` examples have been trained on, whatever is chosen."""
        rounds, rest = divmod(budget, self.round_examples)
        return rounds * self._most_in_round(self.round_examples) + self._most_in_round(rest)

    def _most_in_round(self, budget: int) -> int:
        if budget == 0:
            return 0
        ends = np.array([0, *(hi for _, hi in self.bands)])
        least = ends
        if self.clock == "per_schedule":
            for _ in range(1, self.num_schedules):
                # Fewest examples that c stages can take when one more schedule may take part.
                wider = np.full(len(least) + len(self.bands), np.iinfo(np.int64).max)
                for taken, end in enumerate(ends):
                    part = wider[taken : taken + len(least)]
                    np.minimum(part, least + end, out=part)
                least = wider
        # Stages short of the budget, and the one that reaches it.
        return int(np.flatnonzero(least < budget).max()) + 1

    def planned_sizes(self, budget: int) -> list[int]:
        """Stage sizes if the schedules took turns; their sum is ``budget`` as it is for any other choice."""
        turns = self.num_schedules if self.clock == "per_schedule" else 1
        sizes: list[int] = []
        left = budget
        while left > 0:
            in_round = min(left, self.round_examples)
            left -= in_round
            for lo, hi in (band for band in self.bands for _ in range(turns)):
                if in_round == 0:
                    break
                sizes.append(min(hi - lo, in_round))
                in_round -= sizes[-1]
        return sizes
