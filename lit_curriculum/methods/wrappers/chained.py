"""A chain of policies: the first selects, the others weight and order its selection."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from lit_curriculum.curriculum.base import OWNER, CurriculumPolicy
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.wrappers.wrapper import PolicyWrapper
from lit_curriculum.types import ExampleStore, IntArray, Plan, Subset


class ChainedPolicy(PolicyWrapper):
    """Apply policies in sequence: each gets the selection of the one before as its whole data.

    So a selection can be trained on in the order of a pattern, with weights by loss, or both. The weights of all links
    are multiplied, and the last link decides on the order. All links read one table. Scores are computed before the
    first choice, so a link's candidates are those of all data.

    Args:
        policy: The first link, which selects. Stages, budget and state are its.
        then: The other links. They keep every entry and hold no state, since their data differ at every stage.

    Raises:
        ValueError: ``then`` is empty, or one of its links keeps a state, leaves something out or repeats it.

    References:
        After the train type "lego" of DataFlex 1.1.0, which chains selection, weights and order at a boundary.
    """

    def __init__(self, policy: CurriculumPolicy, then: Sequence[CurriculumPolicy]) -> None:
        super().__init__(policy)
        if not then:
            raise ValueError(f"{OWNER}.then of ChainedPolicy is empty; name a policy, or use the first one alone.")
        self.then = list(then)

    @property
    @override
    def required_metrics(self) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(metric for policy in (self.policy, *self.then) for metric in policy.required_metrics)
        )

    @override
    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        self._examples, self._num_stages = examples, num_stages
        self.policy.setup(examples, num_stages)
        for number, policy in enumerate(self.then):
            policy.setup(examples, num_stages)
            if policy.state_dict():
                raise ValueError(
                    f"{OWNER}.then[{number}] {type(policy).__name__} keeps a state, but is given other data in every "
                    f"stage; put it into {OWNER}.policy."
                )

    @override
    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        asked = [policy.candidates(table, stage) for policy in (self.policy, *self.then)]
        return np.unique(np.concatenate(asked))

    @override
    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        plan = self.policy.step(table, stage, generator)
        for policy in self.then:
            plan = self._link(policy, plan, table, stage, generator)
        return plan

    @override
    def selection_note(self) -> str:
        return f"{self.policy.selection_note()}, then {', '.join(type(policy).__name__ for policy in self.then)}"

    def _link(
        self, policy: CurriculumPolicy, given: Plan, table: DifficultyTable, stage: int, generator: np.random.Generator
    ) -> Plan:
        """Reorder ``given`` by ``policy``, and multiply by its weights."""
        part = table.part(given.indices)
        own = copy.deepcopy(policy)
        own.setup(Subset(self._examples, given.indices), self._num_stages)
        # A part of which nothing is known yet, where of other examples something is, is at its beginning.
        begins = _knows_nothing(part, policy.required_metrics) and not _knows_nothing(table, policy.required_metrics)
        found = own.step(part, 0 if begins else stage, generator)
        if not np.array_equal(np.sort(found.indices), np.arange(len(given))):
            raise ValueError(
                f"{type(policy).__name__} in {OWNER}.then has to train once on each of the {len(given)} examples that "
                f"were chosen, but takes {len(np.unique(found.indices))} of them in {len(found)} entries; give it "
                f"fraction: 1.0, or put it into {OWNER}.policy."
            )
        weights = [p for p in (None if given.weights is None else given.weights[found.indices], found.weights)
                   if p is not None]  # fmt: skip
        scalars = {f"{type(policy).__name__}/{name}": value for name, value in found.scalars.items()}
        return Plan(
            indices=given.indices[found.indices],
            weights=np.prod(weights, axis=0, dtype=np.float32) if weights else None,
            scalars={**given.scalars, **scalars},
        )


def _knows_nothing(table: DifficultyTable, metrics: Sequence[str]) -> bool:
    return not any(np.isfinite(table.scores[metric]).any() for metric in metrics)
