"""Rows of every ability that a run has trained on, all ranks together, known from the sampler's order alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.loop.checks import CurriculumData
from lit_curriculum.types import CONDITIONED, ExampleStore, IntArray, ability_names


class Seen(NamedTuple):
    """What has been trained on of one ability, repeats counted."""

    rows: int
    tokens: int
    """Scored ones."""


class SeenRows:
    """Counts stage by stage, so that batches made again after a resume are not counted twice.

    Every rank knows the whole order, so nothing is gathered. Entries of weight 0 are not trained on.
    """

    def __init__(self) -> None:
        self._stages: dict[int, dict[str, Seen]] = {}
        self._stage: int | None = None
        self._store: ExampleStore | None = None
        self._indices: IntArray = np.empty(0, dtype=np.int64)
        self._weights: NDArray[np.float32] | None = None
        self._position = 0

    def note(self, data: CurriculumData, stage: int, batch_idx: int) -> None:
        """Note that the batch of this number has been trained on."""
        if stage != self._stage:
            self._settle()
            self._stage, self._store = stage, data.train_store
            self._indices, self._weights = data.sampler.order()
        self._position = (batch_idx + 1) * data.sampler.batch_size

    def counts(self) -> dict[str, Seen]:
        """Ability -> what has been seen of it."""
        self._settle()
        found: dict[str, Seen] = {}
        for stage in self._stages.values():
            for ability, seen in stage.items():
                before = found.get(ability, Seen(0, 0))
                found[ability] = Seen(before.rows + seen.rows, before.tokens + seen.tokens)
        return found

    def _settle(self) -> None:
        """Count the part of the stage that has been trained on."""
        if self._stage is None or self._store is None:
            return
        store = self._store
        rows = self._indices[: self._position]
        if self._weights is not None:
            rows = rows[self._weights[: self._position] > 0]
        names = ability_names(store, rows)
        tokens = store.num_scored(CONDITIONED)[rows]
        self._stages[self._stage] = {
            str(a): Seen(int((names == a).sum()), int(tokens[names == a].sum())) for a in np.unique(names)
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        self._settle()
        return {str(stage): {a: list(seen) for a, seen in found.items()} for stage, found in self._stages.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self._stages = {int(s): {a: Seen(*seen) for a, seen in found.items()} for s, found in state.items()}
        self._stage = None
