"""A budgeted refresh chooses what a full one would, within its bound, and says what it saved and what that cost."""

from __future__ import annotations

import copy
from math import comb
from typing import Any, NamedTuple

import numpy as np
import pytest

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.curriculum.budget import BudgetedRefresh
from lit_curriculum.curriculum.check_sample import most_wrong
from lit_curriculum.curriculum.drift import Bounds, Drift, DriftModel
from lit_curriculum.curriculum.iterit import IterITPolicy
from lit_curriculum.curriculum.ordered import OrderedPolicy
from lit_curriculum.curriculum.recent import ReuseRecent
from lit_curriculum.difficulty.table import DifficultyTable
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
    policy.setup(store, stages)
    table = DifficultyTable(size, ["ifd"])
    seen = []
    for stage in range(stages):
        asked = policy.candidates(table, stage)
        np.testing.assert_array_equal(asked, policy.candidates(table, stage))
        inner = copy.deepcopy(policy.policy if isinstance(policy, BudgetedRefresh) else policy)
        whole = copy.deepcopy(table)
        every = inner.candidates(whole, stage)
        whole.update("ifd", every, world.truth[every], stage)
        full = inner.step(whole, stage, make_generator(0, stage, "policy"))
        table.update("ifd", asked, world.truth[asked], stage)
        before, assumed = copy.deepcopy(table), copy.deepcopy(policy)
        plan = policy.step(table, stage, make_generator(0, stage, "policy"))
        np.testing.assert_array_equal(table.scores["ifd"], before.scores["ifd"])
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


def test_the_choice_is_that_of_a_full_refresh_while_no_score_strays_further_than_assumed() -> None:
    exact = 0
    for fraction in (0.05, 0.1, 0.3):
        policy = OrderedPolicy("ifd", direction="hard_to_easy", fraction=fraction, rescore="each_stage")
        seen = drive(BudgetedRefresh(policy, "ifd", confidence=1.0), 2000, 6, 0.01)
        assert [len(s.asked) for s in seen[:2]] == [2000, 2000]
        for stage in seen:
            exact += stage.exact and stage.plan.scalars.get("refresh_saved", 0.0) > 0.2
            assert not stage.exact or stage.rank_error == 0.0
        assert seen[2].plan.scalars["refresh_saved"] > 0.5
        assert seen[2].plan.scalars["refresh_measured_error"] == 0.0
    assert exact > 0, "the claim was never put to the test"


def _reference_top(values: np.ndarray, size: int) -> set[int]:
    return set(sorted(range(len(values)), key=lambda i: -values[i])[:size])


def test_who_is_decided_stays_so_for_any_values_within_the_bounds() -> None:
    generator = np.random.default_rng(0)
    num_decided = 0
    for _ in range(300):
        size = int(generator.integers(2, 12))
        middle, width = generator.normal(size=size), generator.exponential(0.3, size) * generator.integers(0, 2, size)
        found = Bounds(middle, middle - width, middle + width)
        count = int(generator.integers(1, size + 1))
        play = found.in_play(count)
        num_decided += int((~play).sum())
        tops = [_reference_top(generator.uniform(found.low, found.high), count) for _ in range(40)]
        for i in np.flatnonzero(~play):
            assert len({int(i) in top for top in tops}) == 1
        # With expected values in place of the decided ones the highest are the same.
        truth = generator.uniform(found.low, found.high)
        assert _reference_top(np.where(play, truth, middle), count) == _reference_top(truth, count)
    assert num_decided > 500


def _reference_most_wrong(num_wrong: int, num_checked: int, population: int) -> int:
    """By counting all ways to draw, from the largest number down."""

    def ways(total: int) -> int:
        return sum(comb(total, k) * comb(population - total, num_checked - k) for k in range(num_wrong + 1))

    rest = population - num_checked
    while 20 * ways(num_wrong + rest) <= comb(population, num_checked):
        rest -= 1
    return rest


def test_the_bound_is_the_exact_limit_of_a_draw() -> None:
    # Of 70 all but 6 are checked and right: one wrong one is missed with probability 6 / 70, two with 30 / 4830.
    assert most_wrong(0, 64, 70) == 1
    assert most_wrong(0, 64, 64) == 0
    assert most_wrong(3, 3, 10) == 7
    generator = np.random.default_rng(0)
    for _ in range(200):
        population = int(generator.integers(1, 90))
        checked = int(generator.integers(1, population + 1))
        wrong = int(generator.integers(0, checked + 1))
        assert most_wrong(wrong, checked, population) == _reference_most_wrong(wrong, checked, population)
    assert most_wrong(0, 64, 1_000_000) == pytest.approx(1_000_000 * (1 - 0.05 ** (1 / 64)), rel=0.01)


class Accelerating(World):
    """Drift that grows by half with every stage, by a shift of either sign: the last stage always says too little."""

    def advance(self, trained: IntArray) -> None:
        self.noise *= 1.5
        super().advance(trained)
        self.truth = np.maximum(self.truth + 3 * self.noise * self.generator.normal(), 0.01)


@pytest.mark.parametrize(
    ("confidence", "max_count", "saved"), [(0.95, None, 0.02), (0.5, None, 0.3), (0.95, 100, 0.65)]
)
def test_the_stated_bound_covers_what_is_given_up(confidence: float, max_count: int | None, saved: float) -> None:
    found, stated, passed, skipped = [], [], 0, []
    for seed in range(20):
        policy = BudgetedRefresh(ordered(), "ifd", confidence=confidence, max_count=max_count, check_seed=seed)
        for stage in drive(policy, 400, 7, 0.004, Accelerating(400, 0.004, seed))[2:]:
            scalars = stage.plan.scalars
            found.append(stage.rank_error * len(stage.plan))
            stated.append(scalars["refresh_errors_at_most"])
            skipped.append(scalars["refresh_saved"])
            passed += found[-1] > stated[-1]
    assert np.mean(skipped) > saved
    assert sum(found) > 0, "the bound was never put to the test"
    assert passed <= 0.05 * len(found), "one refresh in twenty may pass it"
    assert sum(found) < sum(stated)


def test_measured_error_and_saving_of_iterit_beside_a_full_refresh() -> None:
    seen = drive(BudgetedRefresh(iterit("complexity"), "ifd", confidence=0.9), 4000, 7, 0.01)[2:]
    stated = [s.plan.scalars["refresh_errors_at_most"] for s in seen]
    measured = [s.plan.scalars["refresh_measured_error"] for s in seen if "refresh_measured_error" in s.plan.scalars]
    errors = [s.rank_error * len(s.plan) for s in seen]
    assert np.mean([s.plan.scalars["refresh_saved"] for s in seen]) > 0.3
    assert (np.array(errors) <= np.array(stated)).all()
    assert np.mean([s.rank_error for s in seen]) < 0.02
    assert measured
    assert np.mean(measured) < 0.05


def test_what_is_beyond_the_limit_takes_no_place_near_the_cut() -> None:
    """A third of the scores is above the limit, so the cut lies among those below it and not at the highest of all."""
    policy = IterITPolicy(
        fraction=0.1, refresh_factor=None, score="complexity", max_complexity=0.7, shuffle="none", shortlist="refreshed"
    )
    seen = drive(BudgetedRefresh(policy, "ifd", limit=0.7), 2000, 5, 0.005)
    assert (seen[2].scores > 0.7).sum() > 400
    assert seen[2].plan.scalars["refresh_saved"] > 0.5
    assert max(s.rank_error for s in seen) <= 0.01


def test_iterit_with_novelty_stays_near_its_full_refresh() -> None:
    seen = drive(BudgetedRefresh(iterit("both"), "ifd"), 3000, 5, 0.005)
    assert [s.rank_error for s in seen[:2]] == [0.0, 0.0]
    # Greedy choice by novelty turns small changes of scores into larger ones of the choice: the bound is not for it.
    assert np.mean([s.rank_error for s in seen[2:]]) < 0.2
    assert max(s.rank_error for s in seen) < 0.4
    assert seen[2].plan.scalars["refresh_saved"] > 0.3
    assert seen[2].plan.scalars["selected"] == 150


def test_scores_that_are_too_old_or_near_the_limit_are_scored() -> None:
    seen = drive(BudgetedRefresh(ordered(), "ifd", max_age=2, limit=0.48), 2000, 7, 0.01)
    assert max(s.ages.max() for s in seen) == 2
    crossing = (np.abs(seen[1].scores - 0.02 - 0.48) < 0.005) & (seen[1].ages == 0)
    assert crossing.sum() > 10
    assert (seen[2].ages[crossing] == 0).all()


def test_a_count_holds_the_check_too_and_the_rest_errs_more() -> None:
    few = drive(BudgetedRefresh(ordered(), "ifd", max_count=80, max_age=None), 2000, 4, 0.03)
    many = drive(BudgetedRefresh(ordered(), "ifd", max_age=None), 2000, 4, 0.03)
    assert few[2].plan.scalars["refresh_scored"] == len(few[2].asked) == 80
    assert few[2].plan.scalars["refresh_checked"] == 20, "a quarter"
    assert few[2].plan.scalars["refresh_measured_error"] >= 0
    assert few[2].plan.scalars["refresh_errors_at_most"] > many[2].plan.scalars["refresh_errors_at_most"]
    assert few[2].plan.scalars["refresh_safe_drift"] < many[2].plan.scalars["refresh_safe_drift"]


def test_without_a_check_nothing_is_said_of_the_error() -> None:
    unchecked = drive(BudgetedRefresh(ordered(), "ifd", check_count=0), 1000, 4, 0.005)
    assert unchecked[1].plan.scalars["refresh_errors_at_most"] == 0.0, "all were scored"
    assert unchecked[2].plan.scalars["refresh_saved"] > 0.5
    assert unchecked[2].plan.scalars["refresh_checked"] == 0.0
    assert not {"refresh_errors_at_most", "refresh_measured_error"} & set(unchecked[2].plan.scalars)


def test_easiest_first_and_lower_is_harder_mirror_each_other() -> None:
    easy = OrderedPolicy("ifd", direction="easy_to_hard", fraction=0.1, rescore="each_stage")
    plans = drive(BudgetedRefresh(easy, "ifd", pick="easiest"), 2000, 4, 0.005)
    full = drive(OrderedPolicy("ifd", fraction=0.1, rescore="each_stage"), 2000, 4, 0.005)
    for one, two in zip(plans, full, strict=True):
        assert len(set(one.plan.indices) & set(two.plan.indices)) >= 0.97 * len(one.plan)
    wrapper = BudgetedRefresh(ordered(), "ifd")
    table = DifficultyTable(3, ["ifd"], {"ifd": False})
    table.update("ifd", np.arange(3), np.array([1.0, 2.0, 3.0]), 0)
    assert wrapper._height(table).tolist() == [-1.0, -2.0, -3.0]
    assert wrapper._with_scores(table, np.array([-1.5, 0.5, -3.0])).scores["ifd"].tolist() == [1.5, 0.0, 3.0]


def test_the_state_goes_on_alike() -> None:
    world, store = World(1000, 0.02), store_of(1000)
    one = BudgetedRefresh(ordered(), "ifd")
    one.setup(store, 6)
    table = DifficultyTable(1000, ["ifd"])
    for stage in range(4):
        asked = one.candidates(table, stage)
        table.update("ifd", asked, world.truth[asked], stage)
        plan = one.step(table, stage, make_generator(0, stage, "policy"))
        world.advance(plan.indices)
    two = BudgetedRefresh(ordered(), "ifd")
    two.setup(store, 6)
    two.load_state_dict(one.state_dict())
    asked = one.candidates(table, 4)
    assert 0 < len(asked) < 1000
    np.testing.assert_array_equal(asked, two.candidates(table, 4))
    table.update("ifd", asked, world.truth[asked], 4)
    left, right = (p.step(table, 4, make_generator(0, 4, "policy")) for p in (one, two))
    np.testing.assert_array_equal(left.indices, right.indices)
    assert left.scalars == right.scalars
    foreign = BudgetedRefresh(ordered(), "ifd")
    foreign.setup(store_of(10), 6)
    with pytest.raises(ValueError, match="the checkpoint's refresh is of 1000 examples, the data have 10"):
        foreign.load_state_dict(one.state_dict())
    with pytest.raises(ValueError, match="policy state of version 9 cannot be read"):
        two.load_state_dict({**one.state_dict(), "version": 9})


def test_grown_data_are_scored_first() -> None:
    policy, world = BudgetedRefresh(ordered(), "ifd"), World(600, 0.01)
    table = DifficultyTable(500, ["ifd"])
    policy.setup(store_of(500), 5)
    for stage in range(3):
        asked = policy.candidates(table, stage)
        table.update("ifd", asked, world.truth[asked], stage)
        world.advance(policy.step(table, stage, make_generator(0, stage, "policy")).indices)
    policy.setup(store_of(600), 5)
    table.grow(600)
    asked = policy.candidates(table, 3)
    assert set(range(500, 600)) <= set(asked.tolist())
    table.update("ifd", asked, world.truth[asked], 3)
    assert len(policy.step(table, 3, make_generator(0, 3, "policy"))) == 60


def test_the_spread_is_learnt_from_enough_changes_only() -> None:
    assert Drift.learn(np.zeros(19)) is None
    changes = np.random.default_rng(0).normal(-0.3, 0.1, 5000)
    drift = Drift.learn(changes)
    assert drift is not None
    assert drift.shift == pytest.approx(-0.3, abs=0.01)
    assert drift.limit(0.95) == pytest.approx(0.196, abs=0.01)
    assert Drift.unknown().limit(0.5) == np.inf
    found = DriftModel(drift, drift).bounds(
        np.array([1.0, 1.0, np.nan, 1.0]), np.array([0, 2, 3, 1]), np.array([0, 0, 0, 2]), 0.95
    )
    assert (found.low[0], found.high[0]) == (1.0, 1.0)
    assert found.high[1] - found.low[1] == pytest.approx(4 * drift.limit(0.95))
    assert (found.low[2], found.high[2]) == (-np.inf, np.inf)
    assert found.expected[3] == pytest.approx(1.0 + 3 * drift.shift)
    assert found.high[3] - found.low[3] == pytest.approx(6 * drift.limit(0.95))


def test_stages_and_trainings_are_told_apart() -> None:
    generator = np.random.default_rng(1)
    ages, trainings = generator.integers(1, 4, 4000), generator.integers(0, 3, 4000)
    trainings[generator.random(4000) < 0.5] = 0
    changes = -0.02 * ages - 0.05 * trainings + ages * generator.uniform(-0.01, 0.01, 4000)
    model = DriftModel.unknown().learn(changes, ages, trainings)
    assert (model.stage.shift, model.training.shift) == pytest.approx((-0.02, -0.05), abs=0.001)
    assert 0.005 < model.stage.limit(1.0) <= 0.0105
    assert model.learn(changes[:3], ages[:3], trainings[:3]) == model


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "nll"}, r"curriculum.policy.metric='nll' is not read by OrderedPolicy, which reads \['ifd'\]"),
        ({"pick": "middle"}, "curriculum.policy.pick"),
        ({"confidence": 0.0}, r"curriculum.policy.confidence must be in \(0, 1\], got 0.0"),
        ({"check_count": -1}, "curriculum.policy.check_count must be at least 0, got -1"),
        ({"max_age": 0}, "curriculum.policy.max_age must be at least 1, got 0"),
        ({"max_count": 0}, "curriculum.policy.max_count must be at least 1, got 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BudgetedRefresh(ordered(), **{"metric": "ifd", **options})


def test_recent_scores_are_taken_for_new() -> None:
    policy = ReuseRecent(ordered(), "ifd", max_age=2)
    policy.setup(store_of(10), 9)
    table = DifficultyTable(10, ["ifd"])
    assert len(policy.candidates(table, 0)) == 10
    table.update("ifd", np.arange(9), np.linspace(0.1, 0.9, 9), 0)
    table.update("ifd", np.array([2, 3]), np.array([0.95, 0.97]), 3)
    assert policy.candidates(table, 2).tolist() == [9]
    assert policy.candidates(table, 5).tolist() == [0, 1, 4, 5, 6, 7, 8, 9]
    table.update("ifd", np.arange(4, 10), np.full(6, 0.5), 5)
    plan = policy.step(table, 5, make_generator(0, 5, "policy"))
    assert plan.indices.tolist() == [3]
    assert plan.scalars["scores_reused"] == 2
    assert policy.explain(table, plan) == ["OrderedPolicy: place 1 of 1; ifd 0.97, hardest 1 of 10"]
    assert policy.total_examples(10, 3) == 3
    assert policy.reads == ("ifd",)
    again = ReuseRecent(ordered(), "ifd", max_age=2, reuse="trained")
    again.setup(store_of(10), 9)
    again.load_state_dict(policy.state_dict())
    table.update("ifd", np.arange(10), np.full(10, 0.4), 5)
    assert again.candidates(table, 7).tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    again.setup(store_of(12), 9)
    with pytest.raises(ValueError, match="the checkpoint's policy is of 10 examples, the data have 12"):
        again.load_state_dict(policy.state_dict())


def test_wrong_ages_and_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match=r"curriculum.policy.max_age must be at least 1 stage, got 0"):
        ReuseRecent(ordered(), "ifd", max_age=0)
    with pytest.raises(ValueError, match=r"curriculum.policy.reuse"):
        ReuseRecent(ordered(), "ifd", reuse="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"curriculum.policy.metric='x' is not read by OrderedPolicy"):
        ReuseRecent(ordered(), "x")
