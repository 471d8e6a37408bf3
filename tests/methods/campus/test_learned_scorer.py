"""The learned scorer: objectives against slow references, planted difficulty, determinism, state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from lit_curriculum import (
    HashedNgrams,
    HiddenStates,
    LearnedScorer,
    Pairwise,
    Reweighting,
    TextEncoder,
    TextFeatures,
)
from lit_curriculum.difficulty.learned import UpdateCost
from lit_curriculum.methods.campus.scorer.features import ScorerFeatures, reference
from lit_curriculum.methods.campus.scorer.pairwise import bradley_terry_loss, ridge
from lit_curriculum.methods.campus.scorer.reweighting import adversarial_loss
from lit_curriculum.types import make_generator
from tests.conftest import ListStore, make_example
from tests.methods.campus.scorer_toys import Scripted, context, planted_store, table_of


def _reference_adversarial(s: Any, losses: Any, kind: str, entropy: float) -> tuple[float, list[float]]:
    """Loss and gradient by a loop and by differences, from the definition of the weights."""

    def value(scores: list[float]) -> float:
        raw = [np.exp(x) if kind == "softmax" else 1 / (1 + np.exp(-x)) for x in scores]
        p = [r / sum(raw) for r in raw]
        b = len(p)
        weights = [b * x if kind == "softmax" else 1 + b * x for x in p]
        gain = sum(w * x for w, x in zip(weights, losses, strict=True)) / b
        return -(gain + entropy * -sum(x * np.log(x) for x in p))

    step = 1e-6
    gradient = []
    for i in range(len(s)):
        up, down = list(s), list(s)
        up[i] += step
        down[i] -= step
        gradient.append((value(up) - value(down)) / (2 * step))
    return value(list(s)), gradient


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("entropy", [0.0, 0.7])
def test_the_adversary_equals_its_slow_twin(kind: Any, entropy: float) -> None:
    rng = np.random.default_rng(1)
    s, losses = rng.normal(size=7), rng.gamma(2.0, size=7)
    scores = torch.tensor(s, requires_grad=True)
    found = adversarial_loss(scores, torch.tensor(losses), kind, entropy)
    found.backward()
    expected, gradient = _reference_adversarial(s, losses, kind, entropy)
    assert found.item() == pytest.approx(expected, abs=1e-10)
    assert scores.grad is not None
    np.testing.assert_allclose(scores.grad.numpy(), gradient, atol=1e-7)


def test_with_entropy_the_optimum_is_the_loss_itself() -> None:
    losses = torch.tensor([0.1, 2.0, 0.7], dtype=torch.float64)
    scores = (losses / 0.5 + 3.0).requires_grad_()
    adversarial_loss(scores, losses, "softmax", 0.5).backward()
    assert scores.grad is not None
    assert scores.grad.abs().max() < 1e-12


def test_bradley_terry_equals_its_slow_twin() -> None:
    rng = np.random.default_rng(2)
    better, worse = rng.normal(size=(2, 5))
    expected = np.mean([-np.log(1 / (1 + np.exp(-(a - b)))) for a, b in zip(better, worse, strict=True)])
    slope = [-(1 - 1 / (1 + np.exp(-(a - b)))) / 5 for a, b in zip(better, worse, strict=True)]
    scores = torch.tensor(better, requires_grad=True)
    found = bradley_terry_loss(scores, torch.tensor(worse))
    found.backward()
    assert found.item() == pytest.approx(expected)
    assert scores.grad is not None
    np.testing.assert_allclose(scores.grad.numpy(), slope, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4)])
def test_ridge_meets_its_normal_equations(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=shape), rng.normal(size=shape[0])
    expected = np.linalg.inv(x.T @ x + 0.5 * np.eye(shape[1])) @ x.T @ y
    found = ridge(torch.tensor(x), torch.tensor(y), 0.5)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("features", [HashedNgrams(buckets=128), HiddenStates()])
@pytest.mark.parametrize("hidden", [0, 16])
@pytest.mark.parametrize("normalisation", ["softmax", "sigmoid"])
def test_reweighting_finds_planted_difficulty_of_examples_it_has_not_seen(
    features: ScorerFeatures, hidden: int, normalisation: Any
) -> None:
    store, truth = planted_store()
    metric = LearnedScorer(Reweighting(normalisation), features, hidden=hidden)
    given = context(store, table_of(truth, known=120))
    cost = metric.update(given)
    scores = metric.score(given, np.arange(120, 240))
    assert spearmanr(scores, truth[120:]).statistic > 0.5
    assert cost.scalars["agreement"] > 0.6
    assert cost.scalars["fresh_losses"] == 120
    assert cost.generated_tokens == 0


@pytest.mark.parametrize("difficulty", ["gap", "own_answer", "reference"])
def test_pairwise_asks_for_answers_and_ranks_what_can_be_told_apart(difficulty: Any) -> None:
    # The model answers with easy letters to every prompt, so references with rare letters are easily separated.
    store, truth = planted_store()
    metric = LearnedScorer(
        Pairwise(difficulty, num_answers=100, max_new_tokens=20), HashedNgrams(buckets=128, max_ngram=1)
    )
    given = context(store, table_of(truth, known=60))
    cost = metric.update(given)
    assert isinstance(given.model, Scripted)
    assert given.model.asked[0][:2] == (100, 0.0)
    assert cost.generated_tokens == 1400
    assert cost.forward_tokens > 100
    scores = metric.score(given, np.arange(240))
    agreement = spearmanr(scores, truth).statistic
    if difficulty == "gap":
        assert agreement > 0.5
    elif difficulty == "reference":
        assert agreement < -0.5  # what the scorer likes best counts as easiest: our note's alternative (b)
    assert cost.scalars["agreement"] == pytest.approx(spearmanr(scores[:60], truth[:60]).statistic)


def test_a_drawn_example_is_scored_with_its_own_answer() -> None:
    store, truth = planted_store(40)
    metric = LearnedScorer(Pairwise("own_answer", num_answers=10, max_new_tokens=14), HashedNgrams(64), steps=20)
    given = context(store, table_of(truth, 40))
    metric.update(given)
    scores = metric.score(given, np.arange(40))
    state = metric.state_dict()["objective"]
    np.testing.assert_allclose(scores[state["answered"].numpy()], -state["answer_scores"].numpy(), rtol=1e-6)
    assert len(state["answered"]) == 10


def test_updates_depend_on_state_table_seed_and_stage_alone() -> None:
    store, truth = planted_store(60)
    table = table_of(truth, 60)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for objective in (Reweighting, Pairwise):
        first, second = LearnedScorer(objective(), hidden=4, steps=10), LearnedScorer(objective(), hidden=4, steps=10)
        for metric in (first, second):
            metric.update(context(store, table))
        np.testing.assert_array_equal(
            first.score(context(store, table), np.arange(60)), second.score(context(store, table), np.arange(60))
        )
        other = LearnedScorer(objective(), hidden=4, steps=10)
        other.update(context(store, table, seed=1))
        assert (
            other.score(context(store, table), np.arange(60)) != first.score(context(store, table), np.arange(60))
        ).any()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("objective", [Reweighting, Pairwise])
def test_state_round_trips_and_the_next_update_is_equal(objective: Any, tmp_path: Any) -> None:
    store, truth = planted_store(60)
    table = table_of(truth, 60)
    metric = LearnedScorer(objective(), steps=10)
    metric.update(context(store, table))
    torch.save(metric.state_dict(), tmp_path / "state.pt")
    restored = LearnedScorer(objective(), steps=10)
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    table.enter("loss", np.arange(60), truth[::-1].copy(), 1)
    costs: list[UpdateCost] = []
    for one in (metric, restored):
        costs.append(one.update(context(store, table, stage=1)))
    assert dict(costs[0].scalars) == dict(costs[1].scalars)
    assert "agreement_before" in costs[0].scalars
    np.testing.assert_array_equal(
        metric.score(context(store, table, 1), np.arange(60)), restored.score(context(store, table, 1), np.arange(60))
    )


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="learned scorer of version 9 cannot be read; expected 1"):
        LearnedScorer().load_state_dict({"version": 9})


def test_what_an_update_wants_beside_what_the_policy_asked_for() -> None:
    metric = LearnedScorer(Reweighting(num_losses=20), update_every=2)
    asked = np.array([3, 5])
    more = metric.extra_candidates(asked, 100, 0, make_generator(0, 0, "w"))
    assert len(more) == 18
    assert not set(more.tolist()) & {3, 5}
    np.testing.assert_array_equal(more, metric.extra_candidates(asked, 100, 0, make_generator(0, 0, "w")))
    assert len(metric.extra_candidates(asked, 100, 1, make_generator(0, 1, "w"))) == 0
    assert len(metric.extra_candidates(asked, 10, 2, make_generator(0, 2, "w"))) == 8
    assert [metric.is_due(s) for s in range(4)] == [True, False, True, False]
    assert len(LearnedScorer(Pairwise()).extra_candidates(asked, 100, 0, make_generator(0, 0, "w"))) == 0


def test_old_losses_are_not_learnt_from() -> None:
    store, truth = planted_store(40)
    metric = LearnedScorer(Reweighting(num_losses=0), steps=5)
    with pytest.raises(ValueError, match="nothing to learn from before stage 3: no loss under 'loss' is fresh"):
        metric.update(context(store, table_of(truth, 40), stage=3))
    assert metric.update(context(store, table_of(truth, 40), stage=0)).scalars["fresh_losses"] == 40
    kept = metric.state_dict()
    assert "agreement" not in metric.update(context(store, table_of(truth, 40), stage=9)).scalars
    assert torch.equal(metric.state_dict()["net"]["outer.weight"], kept["net"]["outer.weight"])


def test_references_lose_what_answers_do_not_have() -> None:
    store = ListStore([make_example(0, "abcd", "xy")])
    assert bytes(reference(store, 0).prompt.astype(np.uint8)) == b"<xy>"
    assert bytes(reference(store, 0).tokens.astype(np.uint8)) == b"abc"
    assert len(reference(store, 0, max_tokens=2).tokens) == 2


def test_hashed_ngrams_see_order_and_keep_prompt_and_answer_apart() -> None:
    store = ListStore(
        [make_example(i, r, p) for i, (r, p) in enumerate([("abcd.", "xy"), ("dcba.", "xy"), ("xy.", "abcd")])]
    )
    answers = [reference(store, i) for i in range(3)]
    bags = HashedNgrams(buckets=64, max_ngram=1).extract(answers, Scripted(), torch.device("cpu"))
    pairs = HashedNgrams(buckets=64, max_ngram=2).extract(answers, Scripted(), torch.device("cpu"))
    assert torch.equal(bags[0], bags[1])
    assert not torch.equal(pairs[0], pairs[1])
    assert torch.equal(pairs[0, :64], pairs[1, :64])
    np.testing.assert_allclose(pairs[:, :64].norm(dim=1), 1.0, rtol=1e-6)


class Lengths(TextEncoder):
    """One number a text."""

    def __init__(self) -> None:
        self.seen = 0

    @property
    def name(self) -> str:
        return "lengths"

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        self.seen += len(texts)
        return torch.tensor([[float(len(t))] for t in texts])


def test_texts_are_encoded_once() -> None:
    store = ListStore([make_example(i, "r" * i, "p" * (2 + i)) for i in range(4)])
    encoder = Lengths()
    features = TextFeatures(encoder)
    for _ in range(2):
        found = features.extract([reference(store, i) for i in (2, 3)], Scripted(), torch.device("cpu"))
    assert found.tolist() == [[4.0, 2.0], [5.0, 3.0]]
    assert encoder.seen == 4
    assert LearnedScorer(features=features).formula.count("text-lengths") == 1


def test_formulas_name_every_option() -> None:
    formulas = [
        LearnedScorer(), LearnedScorer(hidden=8), LearnedScorer(loss="nll"), LearnedScorer(Reweighting("sigmoid")),
        LearnedScorer(Pairwise()), LearnedScorer(Pairwise("reference")),
        LearnedScorer(Pairwise(num_answers=None)), LearnedScorer(features=HiddenStates()),
        LearnedScorer(features=HashedNgrams(max_ngram=3)), LearnedScorer(update_every=2),
    ]  # fmt: skip
    assert len({m.formula for m in formulas}) == len(formulas)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LearnedScorer(hidden=-1), "LearnedScorer.hidden must be at least 0, got -1"),
        (lambda: LearnedScorer(update_every=0), "LearnedScorer.update_every must be at least 1"),
        (lambda: LearnedScorer(Pairwise(), TextFeatures(Lengths())), "Pairwise .* TextFeatures reads text alone"),
        (lambda: Reweighting("max"), "objective.normalisation must be one of softmax, sigmoid, got 'max'"),  # type: ignore[arg-type]
        (lambda: Reweighting(num_losses=-1), "objective.num_losses must be at least 0"),
        (lambda: Pairwise("loss"), "objective.difficulty must be one of gap"),  # type: ignore[arg-type]
        (lambda: Pairwise(num_answers=0), "objective.num_answers must be at least 1"),
        (lambda: Pairwise(temperature=-1.0), "objective.temperature must be at least 0"),
        (lambda: HashedNgrams(buckets=0), "features.buckets must be at least 1, got 0"),
    ],
)
def test_bad_options_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
