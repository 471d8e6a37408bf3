"""A budgeted refresh chooses what a full one would, within its bound, and says what it saved and what that cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lit_curriculum import InstructionFollowingDifficulty, StagePlanner
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.ordered import OrderedPolicy
from lit_curriculum.methods.iterit.policy import IterITPolicy
from lit_curriculum.methods.wrappers.budget import BudgetedRefresh
from lit_curriculum.types import make_generator
from tests.methods.wrappers.refresh_toys import World, drive, iterit, ordered, store_of


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


@pytest.mark.slow
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


@pytest.mark.slow
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
    table.enter("ifd", np.arange(3), np.array([1.0, 2.0, 3.0]), 0)
    assert wrapper._signed_score(table).tolist() == [-1.0, -2.0, -3.0]
    assert wrapper._with_scores(table, np.array([-1.5, 0.5, -3.0])).scores["ifd"].tolist() == [1.5, 0.0, 3.0]


def test_the_state_goes_on_alike() -> None:
    world, store = World(1000, 0.02), store_of(1000)
    one = BudgetedRefresh(ordered(), "ifd")
    planner = StagePlanner(one, {"ifd": InstructionFollowingDifficulty()})
    planner.setup(store, 6)
    table = planner.table
    for stage in range(4):
        world.advance(planner.plan(stage, world.score).plan.indices)
    two = BudgetedRefresh(ordered(), "ifd")
    two.setup(store, 6)
    two.load_state_dict(one.state_dict())
    asked = one.candidates(table, 4)
    assert 0 < len(asked) < 1000
    np.testing.assert_array_equal(asked, two.candidates(table, 4))
    table.enter("ifd", asked, world.truth[asked], 4)
    left, right = (p.step(table, 4, make_generator(0, 4, "policy")) for p in (one, two))
    np.testing.assert_array_equal(left.indices, right.indices)
    assert left.scalars == right.scalars
    foreign = BudgetedRefresh(ordered(), "ifd")
    foreign.setup(store_of(10), 6)
    with pytest.raises(ValueError, match="the checkpoint's refresh is of 1000 examples"):
        foreign.load_state_dict(one.state_dict())
    with pytest.raises(ValueError, match="policy state of version 9 cannot be read"):
        two.load_state_dict({**one.state_dict(), "version": 9})


def test_grown_data_are_scored_first() -> None:
    policy, world = BudgetedRefresh(ordered(), "ifd"), World(600, 0.01)
    planner = StagePlanner(policy, {"ifd": InstructionFollowingDifficulty()})
    planner.setup(store_of(500), 5)
    table = planner.table
    for stage in range(3):
        world.advance(planner.plan(stage, world.score).plan.indices)
    policy.setup(store_of(600), 5)
    table.grow(600)
    asked = policy.candidates(table, 3)
    assert set(range(500, 600)) <= set(asked.tolist())
    table.enter("ifd", asked, world.truth[asked], 3)
    assert len(policy.step(table, 3, make_generator(0, 3, "policy"))) == 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "nll"}, r"curriculum.policy.metric='nll' is not read by OrderedPolicy; name one of \['ifd'\]"),
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
