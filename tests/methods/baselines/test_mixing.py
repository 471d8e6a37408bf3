"""Mixing of sources: golden values worked by hand from the formulas, simplex invariants, policies and their state."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.online_mixture import OnlineMixturePolicy
from lit_curriculum.methods.baselines.source_mixture import (
    SourceMixturePolicy,
    apportion,
    doremi_shares,
    skill_it_shares,
    temperature_shares,
)
from lit_curriculum.types import FloatArray, Plan, make_generator
from tests.conftest import ListStore, make_example

SIZES = {"a": 36, "b": 16, "c": 4}


def _store(sizes: dict[str, int] | None = None) -> ListStore:
    names = [a for a, n in (sizes or SIZES).items() for _ in range(n)]
    return ListStore([make_example(i, f"answer {i}", ability=a) for i, a in enumerate(names)])


def _mix(store: ListStore, plan: Plan) -> Counter[str | None]:
    return Counter(store.abilities[i] for i in plan.indices.tolist())


def test_golden_temperature_shares() -> None:
    np.testing.assert_allclose(temperature_shares([36, 16, 4], 1.0), [36 / 56, 16 / 56, 4 / 56])
    np.testing.assert_allclose(temperature_shares([36, 16, 4], 2.0), [6 / 12, 4 / 12, 2 / 12])
    np.testing.assert_allclose(temperature_shares([36, 16, 4], float("inf")), [1 / 3] * 3)
    np.testing.assert_allclose(temperature_shares([36, 16, 4], 1.0, cap=12), [12 / 28, 12 / 28, 4 / 28])


def test_golden_doremi_step() -> None:
    # exp(eta lambda) = 2, 1, 4 on equal shares: 2/7, 1/7, 4/7, then a tenth of the way to 1/3.
    found = doremi_shares(np.full(3, 1 / 3), np.log([2.0, 1.0, 4.0]) / 0.5, rate=0.5, smoothing=0.1)
    np.testing.assert_allclose(found, [0.9 * 2 / 7 + 0.1 / 3, 0.9 / 7 + 0.1 / 3, 0.9 * 4 / 7 + 0.1 / 3])
    # And from unequal ones: 1/2 * 2, 1/4 * 4, 1/4 * 8 are 1, 1, 2.
    again = doremi_shares(np.array([0.5, 0.25, 0.25]), np.log([2.0, 4.0, 8.0]), rate=1.0, smoothing=0.0)
    np.testing.assert_allclose(again, [0.25, 0.25, 0.5])


def test_golden_skill_it_step() -> None:
    graph = np.array([[1.0, 0.5], [0.0, 1.0]])
    losses = np.log(np.array([[2.0, 4.0], [1.0, 4.0]]))
    # Sums of log 2 and log 16; A of them log 2 + log 4 = log 8 and log 16: 8 to 16.
    np.testing.assert_allclose(skill_it_shares(np.full(2, 0.5), graph, losses, 1.0), [1 / 3, 2 / 3])
    # With p0 of 4 to 1: 32 to 16. With eta of 1/2: 4 sqrt(8) to sqrt(16).
    np.testing.assert_allclose(skill_it_shares(np.array([0.8, 0.2]), graph, losses, 1.0), [2 / 3, 1 / 3])
    half = 4.0 * 8.0**0.5
    np.testing.assert_allclose(skill_it_shares(np.array([0.8, 0.2]), graph, losses, 0.5)[0], half / (half + 4.0))


@pytest.mark.parametrize("seed", range(25))
def test_shares_stay_on_the_simplex(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num = int(rng.integers(2, 12))
    sizes = rng.integers(1, 100_000, num).tolist()
    shares = temperature_shares(sizes, float(rng.uniform(0.2, 10.0)))
    smoothing = float(rng.uniform(0.0, 0.5))
    for _ in range(20):
        assert shares.sum() == pytest.approx(1.0)
        assert (shares >= 0.0).all()
        excess = rng.gamma(1.0, 50.0, num)  # far beyond what exp can take
        raised = doremi_shares(np.maximum(shares, 1e-300), excess, float(rng.uniform(0.1, 20.0)), smoothing)
        assert raised.sum() == pytest.approx(1.0)
        assert (raised >= smoothing / num - 1e-12).all()
        linked = skill_it_shares(raised + 1e-9, rng.random((num, num)), rng.gamma(1.0, 50.0, (3, num)), 1.0)
        assert linked.sum() == pytest.approx(1.0)
        counts = apportion(raised, 97)
        assert counts.sum() == 97
        assert (np.abs(counts - 97 * raised) < 1.0 + 1e-9).all()
        shares = raised


def test_order_of_shares_follows_order_of_sizes_and_of_excess() -> None:
    for temperature in (0.5, 1.0, 3.0):
        assert (np.diff(temperature_shares([1, 5, 9, 40], temperature)) > 0).all()
    assert (np.diff(doremi_shares(np.full(4, 0.25), np.array([0.0, 0.1, 0.2, 0.9]), 1.0, 0.001)) > 0).all()
    assert apportion(np.array([0.5, 0.25, 0.25]), 3).tolist() == [1, 1, 1]  # 1.5, 0.75 and 0.75
    assert apportion(np.full(4, 0.25), 2).tolist() == [1, 1, 0, 0]  # equal remainders: the first of them


def test_a_static_mixture_draws_its_shares_and_repeats_only_where_it_must() -> None:
    store = _store()
    policy = SourceMixturePolicy(temperature=2.0, fraction=None, count=36)
    policy.setup(store, 2)
    plan = policy.step(DifficultyTable(56, []), 0, make_generator(0, 0, "policy"))
    assert _mix(store, plan) == {"a": 18, "b": 12, "c": 6}
    times = Counter(plan.indices.tolist())
    assert {times[i] for i in range(36)} <= {0, 1}
    assert sorted(times[i] for i in range(52, 56)) == [1, 1, 2, 2]
    assert plan.scalars["p_mix/a"] == pytest.approx(0.5)
    assert policy.stage_sizes(56, 3) == [36, 36, 36]
    fixed = SourceMixturePolicy(shares={"a": 3.0, "c": 1.0}, fraction=None, count=8)
    fixed.setup(store, 2)
    assert _mix(store, fixed.step(DifficultyTable(56, []), 0, make_generator(0, 0, "policy"))) == {"a": 6, "c": 2}


def test_examples_without_a_source_are_left_out_and_counted() -> None:
    store = ListStore([make_example(i, f"answer {i}", ability=("a", "b", None)[i % 3]) for i in range(12)])
    policy = SourceMixturePolicy()
    policy.setup(store, 1)
    plan = policy.step(DifficultyTable(12, []), 0, make_generator(0, 0, "policy"))
    assert set(_mix(store, plan)) == {"a", "b"}
    assert plan.scalars["without_source"] == 4


def _table(store: ListStore, losses: dict[str, float], reference: dict[str, float]) -> DifficultyTable:
    table = DifficultyTable(len(store), ["loss", "reference"])
    everything = np.arange(len(store))
    for metric, values in (("loss", losses), ("reference", reference)):
        column: FloatArray = np.array([values[a] for a in store.abilities if a is not None])
        table.enter(metric, everything, column, 0)
    return table


def _online(store: ListStore, update: Any, **options: Any) -> OnlineMixturePolicy:
    reference = "reference" if update == "doremi" else None
    policy = OnlineMixturePolicy(
        "loss", update, reference, probe=2, fraction=None, count=min(30, len(store)), **options
    )
    policy.setup(store, 5)
    return policy


def test_doremi_goes_where_the_excess_is() -> None:
    store = _store()
    policy = _online(store, "doremi", smoothing=0.0)
    probes = policy.candidates(DifficultyTable(56, ["loss", "reference"]), 0)
    assert len(probes) == 6
    log2 = float(np.log(2.0))
    # Excess: log 2, none (the reference is worse), none; so 2 : 1 : 1, and after another step 4 : 1 : 1.
    table = _table(store, {"a": 1.0 + log2, "b": 1.0, "c": 2.0}, {"a": 1.0, "b": 3.0, "c": 2.0})
    first = policy.step(table, 0, make_generator(0, 0, "policy"))
    assert [first.scalars[f"p_mix/{a}"] for a in "abc"] == pytest.approx([0.5, 0.25, 0.25])
    second = policy.step(table, 1, make_generator(0, 1, "policy"))
    assert [second.scalars[f"p_mix/{a}"] for a in "abc"] == pytest.approx([4 / 6, 1 / 6, 1 / 6])
    assert second.scalars["p_mean/a"] == pytest.approx((1 / 2 + 4 / 6) / 2)
    assert second.scalars["excess/b"] == 0.0
    assert _mix(store, second) == {"a": 20, "b": 5, "c": 5}
    assert not set(probes.tolist()) & {*first.indices.tolist(), *second.indices.tolist()}


def test_the_excess_is_a_mean_over_tokens() -> None:
    store = ListStore([make_example(i, "x" * (1 + i), ability="ab"[i % 2]) for i in range(12)])
    policy = _online(store, "doremi")
    losses = np.random.default_rng(0).gamma(2.0, 1.0, 12)
    table = DifficultyTable(12, ["loss", "reference"])
    table.enter("loss", np.arange(12), losses, 0)
    table.enter("reference", np.arange(12), np.full(12, 1.5), 0)
    plan = policy.step(table, 0, make_generator(0, 0, "policy"))
    for a in "ab":
        rows = policy.probes[a].tolist()
        total = sum((1 + i) * max(float(losses[i]) - 1.5, 0.0) for i in rows)
        assert plan.scalars[f"excess/{a}"] == pytest.approx(total / sum(1 + i for i in rows))


def test_skill_it_follows_its_graph_and_window() -> None:
    store = _store()
    graph = {"a": {"a": 1.0, "b": 1.0}, "b": {"b": 1.0}, "c": {"c": 1.0}}
    policy = _online(store, "skill_it", rate=1.0, window=2, graph=graph)
    e = np.e
    # Before anything is known: exp of the row sums of A.
    nothing = _table(store, dict.fromkeys("abc", 7.0), dict.fromkeys("abc", 0.0))
    first = policy.step(nothing, 0, make_generator(0, 0, "policy"))
    assert first.scalars["p_mix/a"] == pytest.approx(e**2 / (e**2 + 2 * e))
    later = [_table(store, {"a": v, "b": 2 * v, "c": 0.0}, dict.fromkeys("abc", 0.0)) for v in (0.1, 0.2)]
    policy.step(later[0], 1, make_generator(0, 1, "policy"))
    third = policy.step(later[1], 2, make_generator(0, 2, "policy"))
    # The window holds the last two: sums 0.3, 0.6 and 0; A of them 0.9, 0.6, 0.
    total = np.exp(0.9) + np.exp(0.6) + 1.0
    assert [third.scalars[f"p_mix/{a}"] for a in "abc"] == pytest.approx(
        [np.exp(0.9) / total, np.exp(0.6) / total, 1 / total]
    )
    unlinked = _online(store, "skill_it", rate=1.0)
    assert unlinked.step(nothing, 0, make_generator(0, 0, "policy")).scalars["p_mix/a"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("update", ["doremi", "skill_it"])
def test_state_continues_in_the_middle(update: str) -> None:
    store, rng = _store(), np.random.default_rng(0)
    tables = [
        _table(store, dict(zip("abc", rng.gamma(2.0, 1.0, 3), strict=True)), dict.fromkeys("abc", 1.0))
        for _ in range(5)
    ]
    whole, first, second = (_online(store, update) for _ in range(3))
    expected = [whole.step(t, s, make_generator(0, s, "policy")) for s, t in enumerate(tables)]
    for stage in range(2):
        first.step(tables[stage], stage, make_generator(0, stage, "policy"))
    second.load_state_dict(first.state_dict())
    for stage in range(2, 5):
        plan = second.step(tables[stage], stage, make_generator(0, stage, "policy"))
        assert plan.indices.tolist() == expected[stage].indices.tolist()
        assert plan.scalars == expected[stage].scalars
    # A policy that starts again forgets what came before.
    assert whole.step(tables[0], 0, make_generator(0, 0, "policy")).scalars == expected[0].scalars
    with pytest.raises(ValueError, match=r"the checkpoint's mixture is of a, b, c, the data have a, b"):
        _online(_store({"a": 50, "b": 9}), update).load_state_dict(first.state_dict())


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match=r"curriculum.policy.shares must be at least 0 and not all 0"):
        SourceMixturePolicy(shares={"a": 0.0})
    with pytest.raises(ValueError, match=r"curriculum.policy.temperature must be above 0, got 0"):
        SourceMixturePolicy(temperature=0.0)
    with pytest.raises(ValueError, match=r"curriculum.policy.cap must be at least 1, got 0"):
        SourceMixturePolicy(cap=0)
    with pytest.raises(ValueError, match=r"SourceMixturePolicy mixes sources, but the data have 1 abilities"):
        SourceMixturePolicy().setup(_store({"a": 5}), 1)
    with pytest.raises(ValueError, match=r"curriculum.policy.shares names 'd', the data have a, b, c"):
        SourceMixturePolicy(shares={"d": 1.0}).setup(_store(), 1)
    with pytest.raises(ValueError, match=r"curriculum.policy.update must be one of doremi, skill_it"):
        OnlineMixturePolicy("loss", "odm")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"update=doremi needs and skill_it does not have .got update='doremi'"):
        OnlineMixturePolicy("loss", "doremi")
    with pytest.raises(ValueError, match=r"curriculum.policy.graph is of update=skill_it"):
        OnlineMixturePolicy("loss", "doremi", "reference", graph={})
    with pytest.raises(ValueError, match=r"curriculum.policy.rate must be above 0, got 0"):
        OnlineMixturePolicy("loss", "skill_it", rate=0.0)
    with pytest.raises(ValueError, match=r"curriculum.policy.smoothing must be in \[0, 1\], got 2"):
        OnlineMixturePolicy("loss", "skill_it", smoothing=2.0)
    with pytest.raises(ValueError, match=r"curriculum.policy.window must be at least 1, got 0"):
        OnlineMixturePolicy("loss", "skill_it", window=0)
    with pytest.raises(ValueError, match=r"curriculum.policy.graph names 'z', the data have a, b, c"):
        _online(_store(), "skill_it", graph={"z": {}})
    with pytest.raises(ValueError, match=r"curriculum.policy.graph.a names 'y', the data have a, b, c"):
        _online(_store(), "skill_it", graph={"a": {"y": 1.0}})
    with pytest.raises(ValueError, match=r"curriculum.policy.probe=2 leaves nothing to train on of ability 'c' with 2"):
        _online(_store({"a": 9, "c": 2}), "skill_it")
    policy = _online(_store(), "skill_it")
    table = DifficultyTable(56, ["loss"])
    table.enter("loss", np.arange(56), np.full(56, np.nan), 0)
    with pytest.raises(ValueError, match=r"some probe rows of source 'a' have no score"):
        policy.step(table, 0, make_generator(0, 0, "policy"))
