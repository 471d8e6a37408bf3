"""CAMPUS: the whole trace against a slow reference, the budget, clocks, frozen and static schedules, state, words."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lit_curriculum.methods.campus.policy import CampusPolicy
from lit_curriculum.methods.campus.schedules import band_perplexity, choose, measured_part
from lit_curriculum.types import make_generator
from tests.methods.campus.campus_toys import ReferenceRun, ScriptedRun, campus_store

FOUR = ["length", "mtld", "loss", "scorer"]
THREE = ["length", "mtld", "loss"]


@pytest.mark.slow
@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("scope", ["all", "remaining"])
@pytest.mark.parametrize(
    ("which", "every"), [("chosen", 1), ("chosen", 3), ("all_aware", 1), ("all_aware", 2), ("none", 1)]
)
@pytest.mark.parametrize("clock", ["per_schedule", "shared"])
def test_the_whole_trace_equals_the_slow_twin(
    clock: str, which: str, every: int, scope: str, exclude_seen: bool
) -> None:
    budget = 265
    policy = CampusPolicy(
        FOUR, num_bands=10, clock=clock, rescore_which=which, rescore_every=every, rescore_scope=scope,  # type: ignore[arg-type]
        exclude_seen=exclude_seen, budget_passes=budget / 60,
    )  # fmt: skip
    found = ScriptedRun(policy).run()
    expected = ReferenceRun(
        FOUR, clock=clock, which=which, every=every, scope=scope, exclude_seen=exclude_seen, budget=budget
    ).run()
    assert len(found) == len(expected) >= 20
    for stage, (mine, his) in enumerate(zip(found, expected, strict=True)):
        assert mine["chosen"] == his["chosen"], stage
        assert sorted(mine["indices"]) == sorted(his["band"]), stage
        assert mine["clocks"] == his["clocks"], stage
        assert mine["orders"] == his["orders"], stage
        for number, perplexity in his["ppl"].items():
            assert mine["perplexities"][number] == pytest.approx(perplexity, rel=1e-12)
    assert sum(len(t["indices"]) for t in found) == budget
    # The choice was not one-sided, so that the comparison means something.
    assert len({t["chosen"] for t in found}) > 1


def test_perplexity_by_examples_equals_the_slow_twin() -> None:
    found = ScriptedRun(CampusPolicy(THREE, num_bands=8, ppl_pool="examples", budget_passes=2.0)).run()
    expected = ReferenceRun(THREE, bands=8, pool="examples", budget=120).run()
    assert [t["chosen"] for t in found] == [t["chosen"] for t in expected]
    assert [t["orders"] for t in found] == [t["orders"] for t in expected]


@pytest.mark.parametrize("clock", ["per_schedule", "shared"])
def test_perplexity_of_a_few_examples_equals_the_slow_twin(clock: str) -> None:
    policy = CampusPolicy(FOUR, num_bands=8, clock=clock, ppl_count=3, budget_passes=3.0)  # type: ignore[arg-type]
    found = ScriptedRun(policy).run()
    expected = ReferenceRun(FOUR, bands=8, clock=clock, count=3, budget=180).run()
    assert [t["chosen"] for t in found] == [t["chosen"] for t in expected]
    assert [t["orders"] for t in found] == [t["orders"] for t in expected]
    whole = ScriptedRun(CampusPolicy(FOUR, num_bands=8, clock=clock, budget_passes=3.0)).run()  # type: ignore[arg-type]
    assert [t["chosen"] for t in found] != [t["chosen"] for t in whole], "the few decide otherwise than all"


@pytest.mark.parametrize("clock", ["per_schedule", "shared"])
def test_only_the_chosen_clock_moves_or_the_shared_one(clock: str) -> None:
    run = ScriptedRun(CampusPolicy(THREE, num_bands=6, clock=clock, budget_passes=3.0))  # type: ignore[arg-type]
    before = [0, 0, 0]
    for stage in range(4):
        found = run.stage(stage)
        assert found["chosen"] == int(np.nanargmin(found["perplexities"]))
        moved = [now - then for now, then in zip(found["clocks"], before, strict=True)]
        assert moved == ([1, 1, 1] if clock == "shared" else [int(k == found["chosen"]) for k in range(3)])
        before = found["clocks"]


@pytest.mark.parametrize("clock", ["per_schedule", "shared"])
def test_a_static_schedule_never_changes_and_a_frozen_run_changes_none(clock: str) -> None:
    aware = ScriptedRun(CampusPolicy(FOUR, num_bands=6, clock=clock, rescore_which="all_aware")).run()  # type: ignore[arg-type]
    frozen = ScriptedRun(CampusPolicy(FOUR, num_bands=6, clock=clock, rescore_which="none")).run()  # type: ignore[arg-type]
    for trace in (aware, frozen):
        assert all(t["orders"][:2] == trace[0]["orders"][:2] for t in trace)
    assert all(t["orders"] == frozen[0]["orders"] for t in frozen)
    assert aware[1]["orders"][2] != aware[0]["orders"][2]
    assert aware[1]["orders"][3] != aware[0]["orders"][3]


def test_measuring_a_band_does_not_move_a_schedule_that_is_not_re_sorted() -> None:
    run = ScriptedRun(CampusPolicy(THREE, num_bands=6, rescore_every=50, budget_passes=3.0))
    first = run.stage(0)["orders"]
    run.stage(1)
    assert (run.table.scored_at["loss"] == 1).any()
    assert run.stage(2)["orders"] == first


def test_a_re_sort_and_a_measurement_are_asked_for_once() -> None:
    run = ScriptedRun(CampusPolicy(THREE, num_bands=6, rescore_scope="remaining", rescore_which="all_aware"))
    run.run(3)
    scorable = np.flatnonzero(run.store.num_scored("conditioned") > 0).tolist()
    assert run.asked[0] == list(range(60))
    assert set(run.asked[1]) <= set(scorable)
    assert len(set(run.asked[1])) == len(run.asked[1])
    frozen = ScriptedRun(CampusPolicy(THREE, num_bands=6, rescore_which="none", ppl_count=2))
    frozen.run(3)
    assert len(frozen.asked[1]) <= 6
    unmeasured = ScriptedRun(CampusPolicy(THREE, num_bands=6, rescore_which="none", choice="random", budget_passes=3.0))
    unmeasured.run(3)
    assert unmeasured.asked[1:] == [[], []]


@pytest.mark.parametrize("options", [
    {}, {"clock": "shared"}, {"exclude_seen": True}, {"clock": "shared", "exclude_seen": True},
    {"choice": "random"}, {"choice": "softmax"}, {"choice": "max_ppl"}, {"choice": "round_robin"},
    {"pacing_index": "shifted"},
    {"power": 1.0}, {"metrics": ["loss"]}, {"budget_passes": 2.7}, {"stop": "exhaustion"},
    {"stop": "exhaustion", "exclude_seen": True}, {"stop": "exhaustion", "clock": "shared"},
])  # fmt: skip
def test_the_budget_is_met_exactly_and_within_the_stages_allowed(options: dict[str, Any]) -> None:
    given = {"metrics": FOUR, "num_bands": 9} | options
    policy = CampusPolicy(**given)
    passes = options.get("budget_passes", 1.0)
    if "stop" in options:
        passes = 1.0 if len(options) > 1 else 4.0
    run = ScriptedRun(policy)
    trace = run.run()
    sizes = policy.stage_sizes(60, 200)
    assert sum(len(t["indices"]) for t in trace) == sum(sizes) == round(passes * 60)
    with pytest.raises(ValueError, match=r"trainer\.max_epochs to"):
        policy.setup(run.store, len(sizes) - 1)
    if options.get("exclude_seen"):
        assert sorted(i for t in trace for i in t["indices"]) == list(range(60))
    with pytest.raises(AssertionError, match="after the budget was spent"):
        run.stage(len(trace))


def test_the_bound_on_the_number_of_stages_is_reached_and_never_passed() -> None:
    generator = np.random.default_rng(0)
    for clock in ("per_schedule", "shared"):
        for budget in (1, 7, 59, 60, 100, 180, 181, 300):
            policy = CampusPolicy(THREE, num_bands=7, clock=clock, budget_passes=budget / 60)  # type: ignore[arg-type]
            policy.setup(campus_store(), 500)
            run = policy._now.run
            most = run.most_stages(budget)
            widths = [hi - lo for lo, hi in run.bands]
            longest = 0
            for _ in range(300):
                clocks, trained, stages = [0, 0, 0], 0, 0
                while trained < budget:
                    open_ones = [k for k in range(3) if clocks[k] < len(widths)]
                    if not open_ones:
                        clocks = [0, 0, 0]
                        continue
                    weights = np.array([widths[clocks[k]] for k in open_ones], dtype=float)
                    odds = np.exp(-weights) / np.exp(-weights).sum() if generator.random() < 0.7 else None
                    chosen = int(generator.choice(open_ones, p=odds))
                    trained += widths[clocks[chosen]]
                    stages += 1
                    clocks = (
                        [c + 1 for c in clocks]
                        if clock == "shared"
                        else [c + (k == chosen) for k, c in enumerate(clocks)]
                    )
                longest = max(longest, stages)
            assert longest <= most <= longest + 1


def test_without_a_number_of_bands_as_many_are_cut_as_the_stages_allow() -> None:
    for stages in (5, 12, 30):
        policy = CampusPolicy(THREE, budget_passes=2.0)
        policy.setup(campus_store(), stages)
        assert policy._now.run.most_stages(120) <= stages
        trace = ScriptedRun(CampusPolicy(THREE, budget_passes=2.0), num_stages=stages).run()
        assert len(trace) <= stages
        assert sum(len(t["indices"]) for t in trace) == 120


def test_with_one_metric_it_is_a_banded_easy_to_hard_curriculum() -> None:
    run = ScriptedRun(CampusPolicy(["mtld"], num_bands=6, shuffle=False))
    trace = run.run()
    order = sorted(range(60), key=lambda i: ((i * 13) % 19, run.store[i].content_hash))
    assert [i for t in trace for i in t["indices"]] == order
    assert run.asked == [[]] * len(trace)


def test_shuffling_keeps_a_band_and_unscorable_examples_stand_last() -> None:
    sorted_run, shuffled = (
        ScriptedRun(CampusPolicy(["loss"], num_bands=5, shuffle=s, rescore_which="none")).run() for s in (False, True)
    )
    assert [set(t["indices"]) for t in sorted_run] == [set(t["indices"]) for t in shuffled]
    assert [t["indices"] for t in sorted_run] != [t["indices"] for t in shuffled]
    assert set(sorted_run[-1]["indices"][-2:]) == {28, 57}
    assert sorted_run[0]["scalars"]["unscorable/loss"] == 2


def test_rules_of_choice() -> None:
    ppl, is_open = np.array([3.0, 1.0, 2.0, 1.0]), np.array([True, True, True, True])
    generator = make_generator(0, 0, "test")
    assert choose("min_ppl", ppl, is_open, -1, generator) == 1
    assert choose("min_ppl", ppl, np.array([True, False, True, False]), -1, generator) == 2
    assert choose("max_ppl", np.array([3.0, np.inf, 2.0, 1.0]), is_open, -1, generator) == 0
    assert [choose("round_robin", ppl, is_open, last, generator) for last in (-1, 0, 2, 3)] == [0, 1, 3, 0]
    assert choose("round_robin", ppl, np.array([True, False, True, False]), 2, generator) == 0
    drawn = [choose("softmax", np.array([1.0, 2.0, np.inf]), np.ones(3, bool), -1, generator) for _ in range(2000)]
    assert np.mean(np.array(drawn) == 0) == pytest.approx(math.e / (1 + math.e), abs=0.04)
    assert 2 not in drawn
    drawn = [choose("random", ppl, np.array([True, False, True, False]), -1, generator) for _ in range(400)]
    assert set(drawn) == {0, 2}


def test_band_perplexity_by_hand() -> None:
    nll, tokens = np.array([0.0, math.log(4.0), np.nan]), np.array([3, 1, 0])
    assert band_perplexity(nll, tokens, "tokens") == pytest.approx(math.sqrt(2.0))
    assert band_perplexity(nll, tokens, "examples") == pytest.approx(2.5)
    assert band_perplexity(nll[2:], tokens[2:], "tokens") == math.inf
    assert measured_part(np.arange(10), 3).tolist() == [0, 4, 9]
    assert measured_part(np.arange(2), 3).tolist() == [0, 1]


@pytest.mark.parametrize("clock", ["per_schedule", "shared"])
def test_a_restored_policy_goes_on_the_same(clock: str) -> None:
    options: dict[str, Any] = {
        "metrics": FOUR,
        "num_bands": 8,
        "clock": clock,
        "budget_passes": 2.0,
        "exclude_seen": True,
    }
    straight = ScriptedRun(CampusPolicy(**options)).run()
    first = ScriptedRun(CampusPolicy(**options))
    first.run(7)
    second = ScriptedRun(CampusPolicy(**options))
    second.planner.load_state_dict(first.planner.state_dict())
    rest = [second.stage(s) for s in range(7, len(straight))]
    assert [t["indices"] for t in rest] == [t["indices"] for t in straight[7:]]
    assert [t["orders"] for t in rest] == [t["orders"] for t in straight[7:]]
    assert second.policy.finished(len(straight))


def test_logged_scalars_and_selection_note() -> None:
    run = ScriptedRun(CampusPolicy(FOUR, num_bands=6, budget_passes=3.0))
    run.stage(0)
    found = run.stage(1)
    logged, chosen = found["scalars"], FOUR[found["chosen"]]
    for name in ("clock", "scope", "band_size", "staleness", "perplexity"):
        assert all(f"{name}/{metric}" in logged for metric in FOUR)
    assert logged["band_size"] == len(found["indices"]) == logged[f"band_size/{chosen}"]
    places = np.argsort(np.array(found["orders"][:2]), axis=1)
    assert logged["rank_correlation/length~mtld"] == pytest.approx(np.corrcoef(places)[0, 1])
    assert run.policy.selection_note().startswith(f"CampusPolicy: schedule {chosen}, band ")


@pytest.mark.parametrize(("options", "message"), [
    ({"metrics": []}, "at least one metric"),
    ({"metrics": ["loss", "loss"]}, "none twice"),
    ({"clock": "own"}, "clock must be one of per_schedule, shared"),
    ({"num_bands": 0}, "num_bands must be at least 1"),
    ({"rescore_every": 0}, "rescore_every must be at least 1"),
    ({"initial_scope": 2.0}, r"initial_scope must be in \(0, 1\]"),
    ({"budget_passes": 0.0}, "budget_passes must be above 0"),
])  # fmt: skip
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CampusPolicy(**options)


def test_foreign_states_and_grown_data_are_refused() -> None:
    run = ScriptedRun(CampusPolicy(THREE, num_bands=4))
    run.stage(0)
    state = run.policy.state_dict()
    other = ScriptedRun(CampusPolicy(THREE, num_bands=4), num=30)
    with pytest.raises(ValueError, match=r"schedules are \(3, 60\) \(metrics"):
        other.policy.load_state_dict(state)
    with pytest.raises(ValueError, match="policy state of version 9 cannot be read"):
        other.policy.load_state_dict({**state, "version": 9})
    with pytest.raises(ValueError, match="cannot take in data that have grown to 60"):
        other.policy.setup(campus_store(60), 50)
