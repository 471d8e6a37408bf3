"""The sampler of the training loader: a stage's plan, split over ranks, from any position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DistributedSampler

from lit_curriculum.types import IntArray, Plan

_VERSION = 1
_CHUNK = 65_536  # plan entries turned into Python numbers at a time: a plan of millions never becomes a list


class CurriculumSampler(DistributedSampler[Any]):
    """Yields ``(index, weight)`` of the current plan, in the plan's order.

    It is a :class:`~torch.utils.data.DistributedSampler` because Lightning replaces any other sampler by a
    shuffling one when it trains on several processes. Global batch ``b`` is always the plan's entries
    ``b * batch_size`` to ``(b + 1) * batch_size``, whatever the number of ranks: rank ``r`` takes every
    ``num_replicas``-th of them. Where the last global batch does not divide evenly, ranks that have too few
    get the last entry again with weight 0, so that all ranks make the same number of steps.

    Without a plan the sampler draws a uniform permutation from ``seed`` and the epoch, so that the data module
    serves runs without a curriculum too.

    Args:
        num_examples: Size of the data.
        num_replicas: Number of ranks.
        rank: This process's rank.
        batch_size: Global batch size, examples over all ranks.
        seed: Seed of the order that is used without a plan.
        weighted: Whether to yield ``(index, weight)``. Plain indices suit any data set, but plans with weights are
            refused then, and filler entries count.

    Raises:
        ValueError: ``batch_size`` does not divide by ``num_replicas``.
    """

    def __init__(
        self, num_examples: int, num_replicas: int, rank: int, batch_size: int, seed: int = 0, weighted: bool = True
    ) -> None:
        if batch_size % num_replicas:
            raise ValueError(
                f"data.batch_size={batch_size} is the global batch and must divide by the {num_replicas} ranks; "
                f"choose a multiple of {num_replicas}."
            )
        # The base class only asks the data set for its length.
        super().__init__(range(num_examples), num_replicas=num_replicas, rank=rank, shuffle=False, seed=seed)  # type: ignore[arg-type]
        self.num_examples = num_examples
        self.batch_size = batch_size
        self.weighted = weighted
        self.stage = -1
        self.start = 0
        self._plan: Plan | None = None
        self._plan_expected = False

    @property
    def plan(self) -> Plan | None:
        """The plan in force, or none while no curriculum has set one."""
        return self._plan

    def expect_plan(self) -> None:
        """Refuse iteration until the next :meth:`set_plan`, where no plan is in force."""
        self._plan_expected = True

    def set_plan(self, plan: Plan, stage: int, start: int = 0) -> None:
        """Put a plan in force.

        Args:
            plan: What to train on; its indices must lie in the data.
            stage: The stage it belongs to.
            start: Entries that have been trained on already (a multiple of the batch size, or all of them). The next
                iteration yields the rest; ``len`` stays that of the whole plan.

        Raises:
            ValueError: the plan is empty or points outside the data, or ``start`` is no batch boundary.
        """
        size = len(plan)
        if size == 0:
            raise ValueError(f"the plan of stage {stage} is empty; there is nothing to train on.")
        if not self.weighted and plan.weights is not None and (plan.weights != 1.0).any():
            raise ValueError(
                f"the plan of stage {stage} weighs examples, but the sampler yields plain indices; make it with "
                "weighted=True, and let the data set take (index, weight)."
            )
        low, high = int(plan.indices.min()), int(plan.indices.max())
        if low < 0 or high >= self.num_examples:
            raise ValueError(f"the plan of stage {stage} names example {low if low < 0 else high}, outside the data.")
        if not 0 <= start <= size or (start % self.batch_size and start != size):
            raise ValueError(
                f"stage {stage} cannot be resumed after {start} of {size} examples: that is no multiple of the "
                f"global batch data.batch_size={self.batch_size}; resume with the batch size of the first run."
            )
        self._plan = plan
        self.stage = stage
        self.start = start

    def grow(self, num_examples: int) -> None:
        """Accept indices up to ``num_examples``, after examples were appended to the data."""
        if num_examples < self.num_examples:
            raise ValueError(f"the data cannot shrink from {self.num_examples} to {num_examples} examples.")
        self.num_examples = num_examples

    def __len__(self) -> int:
        """Entries of this rank in the whole stage, padding included."""
        return -(-self._size() // self.num_replicas)

    def __iter__(self) -> Iterator[tuple[int, float] | int]:
        return self._entries() if self.weighted else (index for index, _ in self._entries())

    def _entries(self) -> Iterator[tuple[int, float]]:
        indices, weights = self.order()
        size = len(indices)
        for low in range(self.start, size, _CHUNK * self.num_replicas):
            part = slice(low + self.rank, min(low + _CHUNK * self.num_replicas, size), self.num_replicas)
            part_weights = [1.0] * len(indices[part]) if weights is None else weights[part].tolist()
            yield from zip(indices[part].tolist(), part_weights, strict=True)
        if self.start < size and size % self.num_replicas > 0 and self.rank >= size % self.num_replicas:
            yield int(indices[-1]), 0.0

    def state_dict(self) -> dict[str, Any]:
        """The plan in force and its stage, as tensors; the position is saved by the loop."""
        if self._plan is None:
            return {"version": _VERSION, "stage": self.stage}
        return {
            "version": _VERSION,
            "stage": self.stage,
            "batch_size": self.batch_size,
            "indices": torch.from_numpy(self._plan.indices.copy()),
            "weights": None if self._plan.weights is None else torch.from_numpy(self._plan.weights.copy()),
        }

    def load_state_dict(self, state: Mapping[str, Any], start: int = 0) -> None:
        """Restore :meth:`state_dict` at ``start`` entries into the stage.

        Raises:
            ValueError: the state is of another version or was made with another global batch.
        """
        if state["version"] != _VERSION:
            raise ValueError(f"sampler state of version {state['version']} cannot be read; expected {_VERSION}.")
        if "indices" not in state:
            return
        if state["batch_size"] != self.batch_size:
            raise ValueError(
                f"the checkpoint was made with data.batch_size={state['batch_size']}, this run has "
                f"{self.batch_size}; the global batch must stay the same for an exact resume."
            )
        weights = state["weights"]
        plan = Plan(indices=state["indices"].numpy(), weights=None if weights is None else weights.numpy())
        self.set_plan(plan, state["stage"], start)

    def _size(self) -> int:
        if self._plan is not None:
            return len(self._plan)
        if self._plan_expected:
            raise RuntimeError(
                "the training loader was read before the curriculum had made its first order; something built it "
                "early (trainer.estimated_stepping_batches in configure_optimizers does): take the number of steps "
                "from the module's horizon_steps instead."
            )
        return self.num_examples

    def order(self) -> tuple[IntArray, NDArray[np.float32] | None]:
        """The order of the stage in force over all ranks: [M] indices, and [M] weights or none for one each."""
        size = self._size()
        if self._plan is None:
            return np.random.default_rng([self.seed, self.epoch]).permutation(size), None
        return self._plan.indices, self._plan.weights


class StridedSampler(DistributedSampler[int]):
    """Rank ``r`` of ``R`` gets the indices r, r + R, r + 2R, ...: every example once, none twice.

    Lightning replaces other samplers, but keeps a :class:`~torch.utils.data.DistributedSampler`. That class repeats
    examples until all ranks have equally many; here ranks may differ by one example.

    Args:
        num_examples: Size of the data.
        num_replicas: Number of ranks.
        rank: This process's rank.
    """

    def __init__(self, num_examples: int, num_replicas: int, rank: int) -> None:
        # The base class only asks the data set for its length.
        super().__init__(range(num_examples), num_replicas=num_replicas, rank=rank, shuffle=False)  # type: ignore[arg-type]
        self._indices = range(rank, num_examples, num_replicas)

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)
