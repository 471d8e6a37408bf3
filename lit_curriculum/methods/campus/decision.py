"""A decision of the CAMPUS scheduler, and its numbers for the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np
import torch

from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decision:
    """What one step of the scheduler saw and chose; a list has one entry a schedule."""

    stage: int
    chosen: int
    """Number of the schedule whose band is taught."""
    perplexities: list[float]
    """Of the current bands; NaN where none was measured."""
    clocks: list[int]
    """Numbers of the current bands, from 0."""
    round: int
    """How often the clocks have started again."""
    sizes: list[int]
    """Examples in the current bands."""
    sorted_at: list[int]
    """Stages whose model the orders are of."""
    taught: IntArray
    """The examples taught, easiest first."""

    def state_dict(self) -> dict[str, Any]:
        """All fields, plain or as tensors."""
        state = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**state, "taught": torch.from_numpy(self.taught.copy())}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Decision:
        """What :meth:`state_dict` made."""
        return cls(**{**state, "taught": state["taught"].numpy().copy()})


def scalars(
    decision: Decision,
    metrics: Sequence[str],
    bands: Sequence[tuple[int, int]],
    orders: IntArray,
    table: DifficultyTable,
) -> dict[str, float]:
    """Numbers of a decision under the names that the log shows.

    Per schedule: its band's perplexity, its clock (bands taught in this round), the scope that its band reaches to, the
    band's size, the stages since it was sorted, and how many of its examples have no score. Per pair of schedules:
    Spearman's rank correlation.

    Args:
        decision: The decision.
        metrics: Names of the n schedules.
        bands: Places of the T bands.
        orders: [n, N] the schedules.
        table: Scores.
    """
    num_examples = orders.shape[1]
    found = {"chosen": float(decision.chosen), "band_size": float(len(decision.taught)), "round": float(decision.round)}
    for number, metric in enumerate(metrics):
        clock = decision.clocks[number]
        found[f"clock/{metric}"] = float(clock)
        found[f"scope/{metric}"] = bands[min(clock, len(bands) - 1)][1] / num_examples
        found[f"band_size/{metric}"] = float(decision.sizes[number])
        found[f"staleness/{metric}"] = float(decision.stage - decision.sorted_at[number])
        found[f"unscorable/{metric}"] = float(table.unscorable(metric).sum())
        if np.isfinite(decision.perplexities[number]):
            found[f"perplexity/{metric}"] = decision.perplexities[number]
    if num_examples > 1:
        places = np.empty(orders.shape, dtype=np.float64)
        np.put_along_axis(places, orders, np.arange(num_examples, dtype=np.float64)[None, :], axis=1)
        for (i, one), (j, other) in combinations(enumerate(metrics), 2):
            found[f"rank_correlation/{one}~{other}"] = float(np.corrcoef(places[i], places[j])[0, 1])
    return found
