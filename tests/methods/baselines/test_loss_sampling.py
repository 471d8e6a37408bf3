"""Sampling by loss: probabilities by hand, exact unbiasedness, the budget; and SuperLoss's weights."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.loss_sampling import LossSamplingPolicy, systematic_sample
from lit_curriculum.methods.baselines.loss_weighting import LossWeightingPolicy, confidence, relative_weights
from lit_curriculum.types import FloatArray, Plan, make_generator
from tests.conftest import ListStore, make_example


def _store(num: int) -> ListStore:
    return ListStore([make_example(i, f"answer {i}") for i in range(num)])


def _table(losses: FloatArray, stage: int = 0) -> DifficultyTable:
    table = DifficultyTable(len(losses), ["loss"])
    known = np.isfinite(losses)
    table.enter("loss", np.flatnonzero(known), losses[known], stage)
    return table


def _policy(num: int, stages: int = 20, **options: Any) -> LossSamplingPolicy:
    policy = LossSamplingPolicy(**options)
    policy.setup(_store(num), stages)
    return policy


class _Start:
    """A generator whose random start is given and whose permutation is one and the same."""

    def __init__(self, start: float) -> None:
        self.start = start

    def permutation(self, values: Any) -> Any:
        return np.random.default_rng(3).permutation(values)

    def random(self) -> float:
        return self.start


def test_golden_probabilities() -> None:
    losses = np.array([1.0, 2.0, 3.0, 10.0, np.nan])
    # The mean is 4: three of four are below.
    assert _policy(5, prune=0.25).probabilities(losses).tolist() == [0.75, 0.75, 0.75, 1.0, 1.0]
    ranked = _policy(5, rule="percentile", power=2.0).probabilities(losses)
    np.testing.assert_allclose(ranked, [1 / 16, 4 / 16, 9 / 16, 1.0, 1.0])
    # A loss at the mean is not below it: nothing is pruned where all are equal, as in the first stage.
    assert _policy(3).probabilities(np.full(3, 2.0)).tolist() == [1.0, 1.0, 1.0]
    assert _policy(2).probabilities(np.full(2, np.nan)).tolist() == [1.0, 1.0]


def test_the_draw_has_exactly_the_probabilities_asked_for() -> None:
    probabilities = np.array([0.3, 1.0, 0.25, 0.7, 0.05, 0.9, 0.3])
    # What is drawn changes only where the start passes a fraction of the running sums; between, it is constant.
    line = np.cumsum(probabilities[_Start(0.0).permutation(np.flatnonzero(probabilities < 1.0))])
    starts = np.unique(np.concatenate([[0.0, 1.0], (-line) % 1.0]))
    found = np.zeros(len(probabilities))
    for low, high in itertools.pairwise(starts):
        drawn = systematic_sample(probabilities, _Start((low + high) / 2))  # type: ignore[arg-type]
        assert len(set(drawn.tolist())) == len(drawn)
        assert abs(len(drawn) - probabilities.sum()) < 1.0
        found[drawn] += high - low
    np.testing.assert_allclose(found, probabilities, atol=1e-12)


@pytest.mark.parametrize(("rule", "prune"), [("below_mean", 0.5), ("below_mean", 0.3), ("percentile", 0.5)])
def test_weighted_sums_of_a_stage_are_unbiased(rule: Any, prune: float) -> None:
    rng = np.random.default_rng(0)
    losses, gradients = rng.gamma(2.0, 1.0, 12), rng.normal(size=(12, 3))
    policy = _policy(12, rule=rule, prune=prune)
    kept = policy.probabilities(losses)
    assert 0.0 < kept.min() < kept.max() == 1.0
    canonical = kept[np.argsort(_store(12).content_hashes)]
    line = np.cumsum(canonical[_Start(0.0).permutation(np.flatnonzero(canonical < 1.0))])
    starts = np.unique(np.concatenate([[0.0, 1.0], (-line) % 1.0]))
    expected = np.zeros(3)
    for low, high in itertools.pairwise(starts):
        plan = policy.step(_table(losses), 0, _Start((low + high) / 2))  # type: ignore[arg-type]
        assert plan.weights is not None
        np.testing.assert_allclose(plan.weights, 1.0 / kept[plan.indices], rtol=1e-6)
        expected += (high - low) * (plan.weights[:, None] * gradients[plan.indices]).sum(axis=0)
    np.testing.assert_allclose(expected, gradients.sum(axis=0), atol=1e-5)


def test_without_unbiased_nothing_is_weighted() -> None:
    policy = _policy(8, rule="percentile", unbiased=False)
    plan = policy.step(_table(np.arange(8.0)), 0, make_generator(0, 0, "policy"))
    assert plan.weights is None
    assert len(plan) in (4, 5)  # the probabilities sum to (1 + ... + 8) / 8 = 4.5


def _run(policy: LossSamplingPolicy, losses: FloatArray, stages: int) -> list[Plan]:
    plans = []
    for stage in range(stages):
        if policy.finished(stage):
            break
        table = _table(np.full(len(losses), np.nan) if stage == 0 else losses, stage)
        plans.append(policy.step(table, stage, make_generator(0, stage, "policy")))
    return plans


def test_the_budget_is_spent_exactly_and_ends_without_pruning() -> None:
    losses = np.random.default_rng(1).gamma(2.0, 1.0, 100)
    policy = _policy(100, budget_passes=4.0, anneal=0.3)
    plans = _run(policy, losses, 20)
    assert sum(len(p) for p in plans) == 400 == sum(policy.stage_sizes(100, 20))
    assert len(plans[0]) == 100  # training has left no loss yet
    assert all(len(p) < 100 for p in plans[1:-2])
    done = np.cumsum([0, *(len(p) for p in plans)])
    for before, plan in zip(done[:-1], plans, strict=True):
        pruned = before < 280 and before > 0
        assert plan.weights is not None
        assert (plan.weights.max() > 1.0) == pruned


def test_the_draw_does_not_depend_on_the_order_of_the_file() -> None:
    losses = np.random.default_rng(1).gamma(2.0, 1.0, 50)
    moved = np.random.default_rng(2).permutation(50)
    examples = [make_example(i, f"answer {i}") for i in range(50)]
    for policy, other in ((LossSamplingPolicy(), LossSamplingPolicy()), (LossWeightingPolicy(), LossWeightingPolicy())):
        policy.setup(ListStore(examples), 20)
        other.setup(ListStore([examples[i] for i in moved]), 20)
        plan = policy.step(_table(losses), 1, make_generator(0, 1, "policy"))
        again = other.step(_table(losses[moved]), 1, make_generator(0, 1, "policy"))
        assert plan.indices.tolist() == moved[again.indices].tolist()


def test_state_continues_in_the_middle() -> None:
    losses = np.random.default_rng(1).gamma(2.0, 1.0, 50)
    whole = _run(_policy(50), losses, 20)
    first, second = _policy(50), _policy(50)
    _run(first, losses, 2)
    second.load_state_dict(first.state_dict())
    for stage in range(2, len(whole)):
        assert not second.finished(stage)
        plan = second.step(_table(losses, stage), stage, make_generator(0, stage, "policy"))
        assert plan.indices.tolist() == whole[stage].indices.tolist()
    assert second.finished(len(whole))


def test_where_losses_come_from() -> None:
    trained, asked = _policy(4), _policy(4, losses="refresh")
    fresh = DifficultyTable(4, ["loss"])
    assert trained.candidates(fresh, 0).tolist() == []
    assert asked.candidates(fresh, 0).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"left no loss under 'loss'; set curriculum.training_loss_metric to loss"):
        trained.step(fresh, 1, make_generator(0, 1, "policy"))


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"curriculum.policy.rule must be one of below_mean"):
        LossSamplingPolicy(rule="above")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"curriculum.policy.prune must be in \[0, 1\), got 1.0"):
        LossSamplingPolicy(prune=1.0)
    with pytest.raises(ValueError, match=r"curriculum.policy.anneal must be in \[0, 1\], got 2.0"):
        LossSamplingPolicy(anneal=2.0)
    with pytest.raises(ValueError, match=r"curriculum.policy.power must be above 0, got 0.0"):
        LossSamplingPolicy(power=0.0)
    with pytest.raises(ValueError, match=r"curriculum.policy.losses must be one of training, refresh"):
        LossSamplingPolicy(losses="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"trainer.max_epochs=5, but a stage .* as small as 50 of 100 .* takes 6 stag"):
        _policy(100, stages=5)
    with pytest.raises(ValueError, match=r"curriculum.policy.strength must be above 0, got 0"):
        LossWeightingPolicy(strength=0.0)
    with pytest.raises(ValueError, match=r"curriculum.policy.rule must be one of super_loss"):
        LossWeightingPolicy(rule="below_mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"curriculum.policy.threshold is of rule=super_loss"):
        LossWeightingPolicy(rule="linupper", threshold=1.0)


def _reference_confidence(loss: float, threshold: float, strength: float) -> float:
    """The minimiser of SuperLoss, found by search over log sigma."""

    def value(log_sigma: float) -> float:
        return float((loss - threshold) * np.exp(log_sigma) + strength * log_sigma**2)

    return float(np.exp(minimize_scalar(value, bounds=(-30.0, 1.0), method="bounded", options={"xatol": 1e-10}).x))


def test_confidence_minimises_super_loss() -> None:
    e = np.e
    golden = confidence(np.array([2.0, 2.0 + 2.0 * e * 0.5, 2.0 - e, -50.0]), 2.0, 0.5)
    # At the threshold W(0) = 0; 2 e lambda above it W(e) = 1; from 2 lambda / e below it W(-1/e) = -1.
    np.testing.assert_allclose(golden, [1.0, 1.0 / e, e, e], rtol=1e-6)
    for loss in (0.5, 1.0, 1.9, 2.5, 4.0, 9.0):
        for strength in (0.7, 2.0):
            found = confidence(np.array([loss]), 2.0, strength)[0]
            if (loss - 2.0) / strength > -2.0 / e:
                assert found == pytest.approx(_reference_confidence(loss, 2.0, strength), rel=1e-5)
            else:
                assert found == pytest.approx(e, rel=1e-6)


def test_super_loss_trains_on_all_and_trusts_the_easy() -> None:
    policy = LossWeightingPolicy()
    policy.setup(_store(4), 3)
    losses = np.array([1.0, 3.0, np.nan, 2.0])
    plan = policy.step(_table(losses), 1, make_generator(0, 1, "policy"))
    assert sorted(plan.indices.tolist()) == [0, 1, 2, 3]
    assert plan.weights is not None
    by_index = dict(zip(plan.indices.tolist(), plan.weights.tolist(), strict=True))
    assert by_index[0] > by_index[3] == 1.0 == by_index[2] > by_index[1]
    assert plan.scalars["largest_weight"] == pytest.approx(by_index[0])
    first = policy.step(DifficultyTable(4, ["loss"]), 0, make_generator(0, 0, "policy"))
    assert first.weights is not None
    assert first.weights.tolist() == [1.0] * 4
    assert policy.stage_sizes(4, 3) == [4, 4, 4]
    fixed = LossWeightingPolicy(threshold=5.0)
    fixed.setup(_store(4), 3)
    again = fixed.step(_table(losses), 1, make_generator(0, 1, "policy"))
    assert again.weights is not None
    assert again.weights.min() == 1.0


@pytest.mark.parametrize(
    ("rule", "shape"),
    [
        # Losses 1, 2, 4 and 5 are at -1, -1/2, 1/2 and 1.
        ("linupper", [0.0, 0.5, 1.0, 1.0]),
        ("uniform", [-1.0, -0.5, 0.5, 1.0]),
        ("quadratic", [0.0, 0.75, 0.75, 0.0]),
        ("extremes", [1.0, 0.5, 0.5, 1.0]),
    ],
)
def test_golden_weights_by_place(rule: Any, shape: list[float]) -> None:
    losses = np.array([1.0, 2.0, 4.0, 5.0])
    raised = np.exp(np.array(shape) / 0.5)
    found = relative_weights(losses, rule, 0.5)
    np.testing.assert_allclose(found, 4 * raised / raised.sum())
    assert found.mean() == pytest.approx(1.0)
    policy = LossWeightingPolicy(rule=rule, strength=0.5)
    np.testing.assert_array_equal(policy.weigh(losses), found)
    np.testing.assert_array_equal(relative_weights(np.full(3, 2.0), rule, 0.5), np.ones(3))
