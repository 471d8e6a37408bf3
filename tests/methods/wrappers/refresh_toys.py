"""Scores that drift without a model, and the loop around a policy that refreshes them."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np

from lit_curriculum import InstructionFollowingDifficulty, StagePlanner
from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.difficulty.engine import Scores
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.ordered import OrderedPolicy
from lit_curriculum.methods.iterit.policy import IterITPolicy
from lit_curriculum.methods.wrappers.budget import BudgetedRefresh
from lit_curriculum.methods.wrappers.drift import DriftModel
from lit_curriculum.types import FloatArray, IntArray, Plan, make_generator
from tests.conftest import ListStore, make_example

WORDS = [f"w{i}" for i in range(50)]


def store_of(size: int) -> ListStore:
    generator = np.random.default_rng(9)
    return ListStore([make_example(i, " ".join(generator.choice(WORDS, 6)), f"q{i}") for i in range(size)])


class World:
    """True scores that drift: a shift that all share, bounded noise, and a further fall of what was trained on."""

    def __init__(self, size: int, noise: float, seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)
        self.truth = self.generator.uniform(0.2, 1.0, size)
        self.noise = noise

    def score(self, indices: IntArray, stage: int) -> Scores:
        return Scores(values={"ifd": self.truth[indices]})

    def advance(self, trained: IntArray) -> None:
        self.truth = self.truth - 0.02 + self.generator.uniform(-self.noise, self.noise, len(self.truth))
        self.truth[trained] -= 0.05
        self.truth = np.maximum(self.truth, 0.01)


class Seen(NamedTuple):
    """What happened at one stage."""

    plan: Plan
    full: set[int]
    """What the policy inside would have chosen, from the same state, had all its candidates been scored."""
    asked: IntArray
    ages: IntArray
    scores: FloatArray
    exact: bool
    """No skipped score strayed further from its expected value than was assumed."""

    @property
    def rank_error(self) -> float:
        return 1 - len(self.full & set(self.plan.indices.tolist())) / len(self.plan)


def drive(policy: CurriculumPolicy, size: int, stages: int, noise: float, world: World | None = None) -> list[Seen]:
    """The loop without a model: the world's truth is entered for the candidates."""
    world, store = world or World(size, noise), store_of(size)
    planner = StagePlanner(policy, {"ifd": InstructionFollowingDifficulty()})
    planner.setup(store, stages)
    table, seen = planner.table, []
    for stage in range(stages):
        asked = policy.candidates(table, stage)
        np.testing.assert_array_equal(asked, policy.candidates(table, stage))
        inner = copy.deepcopy(policy.policy if isinstance(policy, BudgetedRefresh) else policy)
        whole = copy.deepcopy(table)
        every = inner.candidates(whole, stage)
        whole.enter("ifd", every, world.truth[every], stage)
        full = inner.step(whole, stage, make_generator(0, stage, "policy"))
        assumed, entered = copy.deepcopy(policy), table.scores["ifd"].copy()
        entered[asked] = world.truth[asked]
        plan = planner.plan(stage, world.score).plan
        np.testing.assert_array_equal(table.scores["ifd"], entered)
        exact = True
        if isinstance(policy, BudgetedRefresh):
            exact = stays_within(assumed, policy._drift, table, every, stage, world)
        ages = (stage - table.scored_at["ifd"]).astype(np.int64)
        seen.append(Seen(plan, set(full.indices.tolist()), asked, ages, table.scores["ifd"].copy(), exact))
        world.advance(plan.indices)
    return seen


def stays_within(
    assumed: BudgetedRefresh, learnt: DriftModel, table: DifficultyTable, asked: IntArray, stage: int, world: World
) -> bool:
    """Truth and moved score of all that were skipped, looked up example by example in what was assumed before."""
    model = assumed._drift
    for i in asked[table.scored_at["ifd"][asked] < stage]:
        age, trainings, old = stage - table.scored_at["ifd"][i], assumed._trainings[i], table.scores["ifd"][i]
        expected = old + age * model.stage.shift + trainings * model.training.shift
        moved = old + age * learnt.stage.shift + trainings * learnt.training.shift
        reach = age * model.stage.limit(assumed.confidence)
        if trainings:
            reach += trainings * model.training.limit(assumed.confidence)
        if abs(world.truth[i] - expected) > reach or abs(moved - expected) > reach:
            return False
    return True


def ordered() -> OrderedPolicy:
    return OrderedPolicy("ifd", direction="hard_to_easy", fraction=0.1, rescore="each_stage")


def iterit(score: Any = "complexity") -> IterITPolicy:
    return IterITPolicy(
        fraction=0.05, refresh_factor=6.0, score=score, max_complexity=None, shuffle="none", shortlist="refreshed"
    )
