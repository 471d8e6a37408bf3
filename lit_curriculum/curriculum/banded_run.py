"""How many stages a banded run can take, and how long they are, before a single choice is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Clock = Literal["per_schedule", "shared"]
Stop = Literal["budget", "exhaustion"]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLength:
    """Where a run ends: ``passes`` over the data or so many ``examples``, or where no schedule has a band left."""

    stop: Stop
    passes: float | None
    examples: int | None

    def budget(self, run: BandedRun) -> int:
        """Examples that the run trains on."""
        if self.stop == "exhaustion":
            return run.round_examples
        if self.examples is not None:
            return self.examples
        assert self.passes is not None
        # The small constant keeps 0.07 * 100 at 7 where the product falls a rounding error below it.
        return max(1, int(self.passes * run.num_examples + 1e-9))


def first_that_fits(runs: Iterable[BandedRun], length: RunLength, num_stages: int) -> BandedRun:
    """The first of ``runs`` for which ``num_stages`` suffice whatever is chosen.

    Raises:
        ValueError: there is none; names the stages that the last one needs.
    """
    for run in runs:
        budget = length.budget(run)
        needed = run.most_stages(budget)
        if needed <= num_stages:
            return run
    raise ValueError(
        f"trainer.max_epochs={num_stages}, but curriculum.policy may take {needed} stages of {len(run.bands)} band(s) "
        f"to train on its {budget} examples; set trainer.max_epochs to {needed} (the run ends by itself when they are "
        "spent) or lower curriculum.policy.num_bands."
    )
