"""Several orders of the same data, their clocks, and the bands that the clocks stand at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch

from lit_curriculum.curriculum.banded_run import BandedRun
from lit_curriculum.curriculum.ordering import highest_first
from lit_curriculum.types import BoolArray, FloatArray, IntArray

RescoreScope = Literal["all", "remaining"]


class BandSchedules:
    """The state of n schedules of N examples.

    Args:
        run: Bands, number of schedules, clock and whether what was seen is left out.
        tie_rank: [N] ranks that break ties.
    """

    def __init__(self, run: BandedRun, tie_rank: IntArray) -> None:
        self.run, self.tie_rank = run, tie_rank
        num, size = run.num_schedules, run.num_examples
        self.orders: IntArray = np.tile(np.arange(size), (num, 1))
        self.clocks: IntArray = np.zeros(num, dtype=np.int64)
        self.sorted_at: IntArray = np.zeros(num, dtype=np.int64)
        self.seen: BoolArray = np.zeros(size, dtype=np.bool_)
        self.round = 0

    @property
    def is_open(self) -> BoolArray:
        """[n] true where a schedule has a band left."""
        is_open: BoolArray = self.clocks < len(self.run.bands)
        return is_open

    def band(self, number: int) -> IntArray:
        """[K] the examples of a schedule's current band, easiest first; none where it is exhausted."""
        clock = int(self.clocks[number])
        if clock >= len(self.run.bands):
            return np.empty(0, dtype=np.int64)
        lo, hi = self.run.bands[clock]
        order = self.orders[number]
        band: IntArray = order[~self.seen[order]][: hi - lo] if self.run.exclude_seen else order[lo:hi].copy()
        return band

    def places(self, number: int, scope: RescoreScope) -> BoolArray:
        """[N] places of a schedule that a re-sort may change."""
        found: BoolArray = np.ones(len(self.seen), dtype=np.bool_)
        if scope == "remaining" and self.run.exclude_seen:
            found = ~self.seen[self.orders[number]]
        elif scope == "remaining":
            clock = int(self.clocks[number])
            found[: self.run.bands[clock][0] if clock < len(self.run.bands) else None] = False
        return found

    def sort(self, number: int, hardness: FloatArray, scope: RescoreScope, stage: int) -> None:
        """Sort the places in ``scope`` by ``hardness`` [N], easiest first, NaN last."""
        places = self.places(number, scope)
        indices = self.orders[number][places]
        self.orders[number][places] = indices[highest_first(-hardness[indices], self.tie_rank[indices])]
        self.sorted_at[number] = stage

    def advance(self, chosen: int, taught: IntArray) -> None:
        """Move the clock on; where nothing is left all clocks start again."""
        self.clocks[chosen if self.run.clock == "per_schedule" else slice(None)] += 1
        self.seen[taught] = True
        if self.seen.all() if self.run.exclude_seen else not self.is_open.any():
            self.clocks[:], self.seen[:] = 0, False
            self.round += 1

    def state_dict(self) -> dict[str, Any]:
        """Copies, as tensors."""
        arrays = {name: getattr(self, name) for name in ("orders", "clocks", "sorted_at", "seen")}
        return {"round": self.round, **{name: torch.from_numpy(value.copy()) for name, value in arrays.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`.

        Raises:
            ValueError: the state has another number of schedules or examples.
        """
        if tuple(state["orders"].shape) != self.orders.shape:
            raise ValueError(
                f"the checkpoint's schedules are {tuple(state['orders'].shape)} (metrics, examples), this run's are "
                f"{self.orders.shape}; resume with the options and data that the run was started with."
            )
        for name in ("orders", "clocks", "sorted_at", "seen"):
            setattr(self, name, state[name].numpy().copy())
        self.round = state["round"]
