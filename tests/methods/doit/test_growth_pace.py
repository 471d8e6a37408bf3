"""GrowthPace: slopes by least squares, shares within their bounds, and a state that resumes."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest

from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.doit.growth_pace import GrowthPacePolicy, fit_slope
from lit_curriculum.types import Plan
from tests.conftest import ListStore, make_example

PACES = {"fast": 1.0, "none": 0.0, "slow": 0.2, "worse": -0.3}


@pytest.fixture
def store() -> ListStore:
    return ListStore([make_example(i, f"r{i}", f"q{i}", sorted(PACES)[i % 4]) for i in range(400)])


def policy(store: ListStore, **options: object) -> GrowthPacePolicy:
    made = GrowthPacePolicy("nll", count=100, probe=5, **options)  # type: ignore[arg-type]
    made.setup(store, 8)
    return made


def run(made: GrowthPacePolicy, store: ListStore, stages: range) -> list[Plan]:
    """Losses fall by the planted pace in nats per quadrupling of rows seen."""
    table, plans = DifficultyTable(len(store), ["nll"]), []
    for stage in stages:
        for a, rows in made.probes.items():
            seen = made._seen.get(a, 0) if stage else 0
            loss = 3.0 - PACES[a] * np.log1p(seen) / np.log(4)
            table.enter("nll", rows, np.full(len(rows), loss), stage)
        plans.append(made.step(table, stage, np.random.default_rng(stage)))
    return plans


def shares(plan: Plan, store: ListStore) -> dict[str, float]:
    names = [store.abilities[i] for i in plan.indices]
    return {a: names.count(a) / len(plan) for a in sorted(PACES)}


def _reference_fit(points: list[tuple[int, float]]) -> tuple[float, float]:
    x = np.log([1 + n for n, _ in points]) / np.log(4)
    coefficients, covariance = np.polyfit(x, [v for _, v in points], 1, cov=True)
    return -coefficients[0], covariance[0, 0] ** 0.5


def test_slope_and_error_are_those_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    for size in (3, 5):
        points = [(10 * i, float(rng.random())) for i in range(size)]
        assert fit_slope(points) == pytest.approx(_reference_fit(points))
    assert fit_slope([(5, 1.0), (5, 2.0), (5, 0.0)]) == (0.0, 0.0)


def test_equal_shares_first_and_then_to_what_gains(store: ListStore) -> None:
    made = policy(store, floor=0.05, max_change=0.15)
    plans = run(made, store, range(6))
    assert [shares(p, store) for p in plans[:2]] == [dict.fromkeys(sorted(PACES), 0.25)] * 2
    last = shares(plans[-1], store)
    assert last["fast"] > last["slow"] >= last["none"]
    assert last["worse"] == pytest.approx(0.05)
    probes = set(np.concatenate(list(made.probes.values())).tolist())
    for before, after in itertools.pairwise(plans):
        assert not probes & set(after.indices.tolist())
        assert len(set(after.indices.tolist())) == len(after) == 100
        old, new = shares(before, store), shares(after, store)
        assert all(abs(old[a] - new[a]) <= 0.15 + 1e-9 for a in PACES)
        assert all(0.05 - 1e-9 <= new[a] <= 0.6 + 1e-9 for a in PACES)
    assert plans[-1].scalars["slope/fast"] == pytest.approx(1.0)


def test_candidates_are_the_probes(store: ListStore) -> None:
    made = policy(store)
    assert len(made.candidates(DifficultyTable(400, ["nll"]), 0)) == 20
    assert made.stage_sizes(400, 3) == [100] * 3
    assert made.required_metrics == ("nll",)


def test_a_restored_policy_goes_on_as_the_one_that_was_not_stopped(store: ListStore) -> None:
    straight, stopped = policy(store), policy(store)
    run(straight, store, range(4))
    run(stopped, store, range(4))
    state = copy.deepcopy(stopped.state_dict())
    resumed = policy(store)
    resumed.load_state_dict(state)
    for a, b in zip(run(straight, store, range(4, 6)), run(resumed, store, range(4, 6)), strict=True):
        assert a.indices.tolist() == b.indices.tolist()
    with pytest.raises(ValueError, match="set of growth curves is of x, the data have fast"):
        policy(store).load_state_dict({"seen": {"x": 1}})


def test_doubt_holds_back_and_exploring_draws(store: ListStore) -> None:
    def noisy(attitude: str, seed: int) -> int:
        made = policy(store, attitude=attitude, max_change=1.0, floor=0.05)
        made._seen, made._shares = dict.fromkeys(PACES, 60), dict.fromkeys(PACES, 0.25)
        made._points = {
            a: [(0, 3.0), (20, 2.9), (40, 2.85)] if a != "fast" else [(0, 3.0), (20, 1.0), (40, 2.8)] for a in PACES
        }
        return made._allocate(np.random.default_rng(seed), {})["fast"]

    assert noisy("pessimistic", 0) < noisy("expected", 0)
    assert len({noisy("exploring", s) for s in range(5)}) > 1


@pytest.mark.parametrize(("options", "message"), [
    ({"probe": 0}, "probe must be at least 1"), ({"window": 2}, "window must be at least 3"),
    ({"floor": 0.7}, "0 <= floor < cap <= 1"), ({"max_change": 0.0}, "max_change must be in"),
])  # fmt: skip
def test_options_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GrowthPacePolicy("nll", count=10, **options)  # type: ignore[arg-type]


def test_data_that_do_not_fit_are_refused(store: ListStore) -> None:
    one = ListStore([make_example(i, "r", f"q{i}", "a") for i in range(9)])
    cases = [
        (GrowthPacePolicy("nll", count=5), one, "among abilities, but the data have 1"),
        (GrowthPacePolicy("nll", count=5, floor=0.3), store, "fit no shares"),
        (GrowthPacePolicy("nll", count=5, probe=100), store, "leaves nothing to train on of ability 'fast'"),
        (GrowthPacePolicy("nll", count=390, probe=5), store, "exceeds what the probes leave"),
    ]
    for made, data, message in cases:
        with pytest.raises(ValueError, match=message):
            made.setup(data, 2)
    made = policy(store)
    with pytest.raises(ValueError, match="some probe rows of ability 'fast' have no score"):
        made.step(DifficultyTable(400, ["nll"]), 0, np.random.default_rng(0))
