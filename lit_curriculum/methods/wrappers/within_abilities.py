"""A separate copy of a policy for each ability, so that only scores of one ability are compared."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from lit_curriculum.curriculum.base import OWNER, CurriculumPolicy, check_same_data
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import BoolArray, ExampleStore, IntArray, Plan, Subset

UNLABELLED = "(none)"
"""Name of the group of examples that have no ability."""


class _Group(NamedTuple):
    """Examples of one ability, and the policy that selects among them."""

    members: IntArray
    """[G] indices, ascending: data grow at the end, and so does a group."""
    policy: CurriculumPolicy


class WithinAbilitiesPolicy(CurriculumPolicy):
    """Select within every ability (or source) of a mixture by a copy of one policy.

    A single score over a mixture of unlike sources can exclude a whole source, for example one with short responses.
    Here the policy selects its usual share of each ability. The abilities are spread evenly over a stage, each in the
    order of its copy.

    Args:
        policy: Copied for each ability. ``fraction`` and ``count`` are those of one ability.

    Raises:
        ValueError: the data have one ability, or the policy refuses the examples or the scores of one.
    """

    def __init__(self, policy: CurriculumPolicy) -> None:
        self.policy = policy
        self._groups: dict[str, _Group] = {}

    @property
    def required_metrics(self) -> tuple[str, ...]:
        return self.policy.required_metrics

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        labels = np.array([ability or UNLABELLED for ability in examples.abilities])
        names = sorted(set(labels.tolist()))
        if len(names) < 2:
            raise ValueError(
                f"{OWNER}: WithinAbilitiesPolicy chooses inside each ability, but all {len(examples)} examples are of "
                f"{names[0]}; give the rows a field 'ability', name theirs in data.ability_field, "
                f"or use {type(self.policy).__name__} alone."
            )
        before, self._groups = self._groups, {}
        for name in names:
            members = np.flatnonzero(labels == name)
            policy = before[name].policy if name in before else copy.deepcopy(self.policy)
            with _named(name, members):
                policy.setup(Subset(examples, members), num_stages)
            self._groups[name] = _Group(members, policy)

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        found = [g.members[g.policy.candidates(table.part(g.members), stage)] for g in self._groups.values()]
        return np.concatenate(found)

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        plans: dict[str, Plan] = {}
        for name, group in self._groups.items():
            if not group.policy.finished(stage):
                with _named(name, group.members):
                    plans[name] = group.policy.step(table.part(group.members), stage, generator)
        indices = np.concatenate([self._groups[name].members[plan.indices] for name, plan in plans.items()])
        # The i-th of M is placed at random in the i-th of M equal parts of the stage.
        places = [(np.arange(len(plan)) + generator.random(len(plan))) / max(len(plan), 1) for plan in plans.values()]
        order = np.argsort(np.concatenate(places), kind="stable")
        weights = None
        if any(plan.weights is not None for plan in plans.values()):
            ones = (np.ones(len(plan), np.float32) if plan.weights is None else plan.weights for plan in plans.values())
            weights = np.concatenate(list(ones))[order]
        scalars = {f"{key}/{name}": value for name, plan in plans.items() for key, value in plan.scalars.items()}
        return Plan(indices=indices[order], weights=weights, scalars=scalars)

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        assert num_examples == sum(len(g.members) for g in self._groups.values()), "setup has seen other data"
        sizes = [g.policy.stage_sizes(len(g.members), num_stages) for g in self._groups.values()]
        return [sum(stage) for stage in zip(*sizes, strict=True)]

    def finished(self, stage: int) -> bool:
        return all(group.policy.finished(stage) for group in self._groups.values())

    def exclusion_reasons(self, table: DifficultyTable) -> Mapping[str, BoolArray]:
        found: dict[str, BoolArray] = {}
        for group in self._groups.values():
            for reason, kept_out in group.policy.exclusion_reasons(table.part(group.members)).items():
                found.setdefault(reason, np.zeros(table.num_examples, dtype=np.bool_))[group.members] |= kept_out
        return found

    def state_dict(self) -> dict[str, Any]:
        return {name: group.policy.state_dict() for name, group in self._groups.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_same_data("choice", ", ".join(sorted(state)), ", ".join(sorted(self._groups)))
        for name, group in self._groups.items():
            group.policy.load_state_dict(state[name])


@contextmanager
def _named(ability: str, members: IntArray) -> Iterator[None]:
    """Name the ability in errors of its policy."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"ability {ability!r}, {len(members)} examples: {error}") from error
