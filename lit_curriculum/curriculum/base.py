"""Base class of policies, which alone decide what a stage trains on, and reasons for their choices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import BoolArray, ExampleStore, IntArray, Plan
from lit_curriculum.utils.options import Configured, check_exactly_one, check_range

OWNER = "curriculum.policy"
"""Path of the policy in a configuration, for messages."""
PREFERRED = "others were preferred"
NOT_DRAWN = "not drawn"


class CurriculumPolicy(Configured, ABC):
    """Base class of policies: choose the examples of each stage and their order.

    The loop calls :meth:`setup` once, then for every stage :meth:`candidates`, scores those examples with the
    model in training, and calls :meth:`step`. A policy never sees the model, and holds no random state: the
    generator that it is handed depends on seed and stage alone.
    """

    option_path: ClassVar[str] = OWNER

    @property
    def required_metrics(self) -> tuple[str, ...]:
        """Names of the difficulty metrics that the policy reads."""
        return ()

    @abstractmethod
    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        """Check the options against the data and prepare what depends on the data alone.

        Called before stage 0, on resume before :meth:`load_state_dict`, and again after the data have grown.

        Raises:
            ValueError: an option does not fit the data.
        """

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        """Return [K] indices to score with the current model before ``stage``; no side effects. None by default."""
        del table, stage
        return np.empty(0, dtype=np.int64)

    @abstractmethod
    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        """Plan ``stage``; the only method that may change the policy's state."""

    @abstractmethod
    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        """Return the planned number of examples of each stage, before training.

        The learning-rate horizon comes from here. Where a stage's size depends on scores it is the planned
        one, and the sum is right.
        """

    def finished(self, stage: int) -> bool:
        """Whether the run ends before ``stage`` because nothing is left to train on. Never by default."""
        del stage
        return False

    def selection_note(self) -> str:
        """Describe in a few words how the last :meth:`step` chose; by default the name of the class."""
        return type(self).__name__

    def exclusion_reasons(self, table: DifficultyTable) -> Mapping[str, BoolArray]:
        """Map reasons to the examples [N] that the last :meth:`step` excluded, given its ``table``; empty by default.

        A missing score and a worse score than others' need no entry. The first reason that holds counts. Keep the
        texts the same from stage to stage: the ledger stores what changes.
        """
        del table
        return {}

    def state_dict(self) -> dict[str, Any]:
        """State that cannot be recomputed from options, data and table. Empty by default."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`; called after :meth:`setup`."""
        if state:
            raise ValueError(f"{type(self).__name__} keeps no state, but the checkpoint holds {sorted(state)}.")


def resolve_count(num_examples: int, *, fraction: float | None, count: int | None) -> int:
    """Convert a stage size, given as a share of the data or as a number, to a number of examples.

    Args:
        num_examples: Size of the data.
        fraction: Share of the data, in (0, 1]; the result is its floor, at least 1.
        count: The number itself, in [1, num_examples].

    Raises:
        ValueError: both or none is given, or the value is out of range.
    """
    check_size(fraction=fraction, count=count)
    if fraction is not None:
        # The small constant keeps 0.05 * 100 at 5 where the product falls a rounding error below it.
        size = int(fraction * num_examples + 1e-9)
        if size < 1:
            raise ValueError(f"{OWNER}.fraction={fraction} of {num_examples} examples is less than one example.")
        return size
    assert count is not None
    if count > num_examples:
        raise ValueError(f"{OWNER}.count must be between 1 and the {num_examples} examples of the data, got {count}.")
    return count


def check_size(*, fraction: float | None, count: int | None) -> None:
    """Refuse a stage size that fits no data; for constructors, where the data are unknown.

    Raises:
        ValueError: both or none is given, or the value is out of range.
    """
    check_exactly_one(OWNER, fraction=fraction, count=count)
    check_range(OWNER, "(0, 1]", fraction=fraction)
    check_range(OWNER, "[1, inf)", count=count)


def check_same_data(what: str, saved: object, now: object) -> None:
    """Refuse the state of a policy that was made with other data.

    Raises:
        ValueError: the two differ; names both.
    """
    if saved != now:
        raise ValueError(
            f"the checkpoint's {what} is of {saved}, the data have {now}; resume with the data that the run was "
            "started with."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StageReasons:
    """One reason for each example, chosen or not."""

    codes: NDArray[np.int32]
    """[N] position of the example's reason in :attr:`texts`."""
    texts: list[str]


def stage_reasons(policy: CurriculumPolicy, table: DifficultyTable, plan: Plan) -> StageReasons:
    """Explain for all examples why they are in the plan that ``policy`` has just made, or why they are not.

    The first that holds counts: chosen, one of the policy's exclusion reasons, no score, others were preferred.

    Args:
        policy: The policy, right after its :meth:`~lit_curriculum.CurriculumPolicy.step`.
        table: Scores of N examples.
        plan: What it returned.
    """
    metrics = policy.required_metrics
    chosen = np.zeros(table.num_examples, dtype=np.bool_)
    chosen[plan.indices] = True
    found = {f"chosen by {policy.selection_note()}": chosen, **policy.exclusion_reasons(table)}
    found |= {f"no score by {metric}": table.unscorable(metric) for metric in metrics}
    found[PREFERRED if metrics else NOT_DRAWN] = np.ones_like(chosen)
    return StageReasons(codes=np.argmax(np.stack(list(found.values())), axis=0).astype(np.int32), texts=list(found))


def entry_reasons(policy: CurriculumPolicy, table: DifficultyTable, plan: Plan) -> list[str]:
    """Explain each entry of ``plan``: its place, and its score and rank by hardness for every required metric.

    Args:
        policy: The policy, right after its :meth:`~lit_curriculum.CurriculumPolicy.step`.
        table: Scores of N examples.
        plan: What it returned, M entries.

    Returns:
        M sentences.
    """
    note = policy.selection_note()
    reasons = [f"{note}: place {place} of {len(plan)}" for place in range(1, len(plan) + 1)]
    for metric in policy.required_metrics:
        hardness = table.hardness(metric)
        order = np.argsort(-hardness, kind="stable")  # NaN last
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(1, len(order) + 1)
        num_scored = int(np.isfinite(hardness).sum())
        for place, index in enumerate(plan.indices.tolist()):
            score = table.scores[metric][index]
            text = f"{score:.6g}, hardest {rank[index]} of {num_scored}" if np.isfinite(score) else "no score"
            reasons[place] += f"; {metric} {text}"
    return reasons
