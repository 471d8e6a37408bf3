"""The scoring engine equals the one-example-at-a-time value, whatever the batches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lit_curriculum.difficulty.base import sum_and_count
from lit_curriculum.difficulty.batching import pack_rows
from lit_curriculum.difficulty.engine import ScoringEngine, pack_by_tokens
from lit_curriculum.difficulty.loss_metrics import InstructionFollowingDifficulty, LossRatioIFD, NegativeLogLikelihood
from lit_curriculum.types import CONDITIONED, UNCONDITIONED, Batch, EncodedView, Example, TokenNLL
from lit_curriculum.utils.eval_mode import evaluation_mode
from tests.conftest import ListStore, make_example
from tests.difficulty.bigram import METRICS, BigramModel, _reference_mean_nll


@pytest.mark.parametrize("budget", [1, 40, 100_000])
def test_scores_equal_the_one_at_a_time_reference(toy_store: ListStore, budget: int) -> None:
    model = BigramModel()
    order = np.random.default_rng(0).permutation(len(toy_store))
    with torch.no_grad():
        found = ScoringEngine(METRICS, budget).score(model, toy_store, order).values
        cond = np.array([_reference_mean_nll(model, toy_store.encoded(int(i), CONDITIONED)) for i in order])
        prior = np.array([_reference_mean_nll(model, toy_store.encoded(int(i), UNCONDITIONED)) for i in order])
    np.testing.assert_allclose(found["nll"], cond, rtol=1e-5)
    np.testing.assert_allclose(found["ppl"], np.exp(cond), rtol=1e-5)
    np.testing.assert_allclose(found["ifd"], np.exp(cond - prior), rtol=1e-5)
    np.testing.assert_allclose(found["loss_ratio"], cond / prior, rtol=1e-5)


def test_equal_sequences_and_shared_views_run_once() -> None:
    examples = [make_example(i, "same answer", f"question {i % 3}") for i in range(12)]
    model = BigramModel()
    engine = ScoringEngine(METRICS, token_budget=100_000)
    scores = engine.score(model, ListStore(examples), np.arange(12))
    assert model.num_sequences == 4  # three conversations, and one response on its own
    assert model.num_forwards == 1
    assert len(np.unique(scores.values["nll"])) == 3


def test_unscorable_examples_are_nan_and_the_rest_is_scored() -> None:
    examples = [make_example(0, "fine"), make_example(1, ""), make_example(2, "also fine")]
    values = ScoringEngine(METRICS).score(BigramModel(), ListStore(examples), np.array([1, 2, 0])).values
    for name in METRICS:
        assert np.isnan(values[name]).tolist() == [True, False, False]
    nothing = ScoringEngine(METRICS).score(BigramModel(), ListStore(examples), np.array([1])).values
    assert np.isnan(nothing["ifd"]).all()


def test_a_broken_model_is_refused_and_names_the_example(toy_store: ListStore) -> None:
    model = BigramModel()
    with torch.no_grad():
        model.table.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"NaN or infinite on .* example toy-\d+ \(toy.jsonl:\d+\)"):
        ScoringEngine(METRICS).score(model, toy_store, np.arange(5))


def test_an_overflowing_metric_is_refused(toy_store: ListStore) -> None:
    class Overflow(NegativeLogLikelihood):
        def combine(self, summaries: Mapping[str, Tensor]) -> Tensor:
            return super().combine(summaries) * torch.inf

    with pytest.raises(ValueError, match=r"metric 'big' \(nll-mean/1\) overflows on example toy-3"):
        ScoringEngine({"big": Overflow()}).score(BigramModel(), toy_store, np.array([3]))


def test_out_of_memory_halves_the_batch_and_changes_no_score(toy_store: ListStore) -> None:
    class Small(BigramModel):
        def token_nll(self, batch: Batch) -> TokenNLL:
            if batch.input_ids.numel() > 200:
                raise torch.OutOfMemoryError("too much")
            return super().token_nll(batch)

    engine = ScoringEngine(METRICS, token_budget=2000)
    found = engine.score(Small(), toy_store, np.arange(40)).values["ifd"]
    expected = ScoringEngine(METRICS, token_budget=100).score(BigramModel(), toy_store, np.arange(40)).values["ifd"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert engine.token_budget < 2000
    long = ListStore([make_example(0, "x" * 300)])
    with pytest.raises(torch.OutOfMemoryError):
        ScoringEngine(METRICS).score(Small(), long, np.array([0]))


def test_progress_ends_at_the_total(toy_store: ListStore) -> None:
    seen: list[tuple[int, int]] = []
    scores = ScoringEngine(METRICS, 64).score(
        BigramModel(), toy_store, np.arange(10), progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (scores.tokens, scores.tokens)
    assert [s[0] for s in seen] == sorted(s[0] for s in seen)


def test_a_token_budget_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"curriculum.token_budget must be at least 1"):
        ScoringEngine(METRICS, 0)


def test_packing_holds_every_item_once_within_the_budget() -> None:
    lengths = np.random.default_rng(1).integers(1, 50, 300)
    lengths[7] = 500
    batches = pack_by_tokens(lengths, 120)
    assert sorted(np.concatenate(batches).tolist()) == list(range(300))
    assert all(len(b) == 1 or len(b) * lengths[b].max() <= 120 for b in batches)
    padding = sum(len(b) * lengths[b].max() for b in batches) / lengths.sum()
    assert padding < 1.1


def test_quiet_leaves_flags_gradients_and_random_state_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.BatchNorm1d(2))
    model[2].eval()
    before = [m.training for m in model.modules()]
    state = torch.get_rng_state()
    with evaluation_mode(model):
        assert not any(m.training for m in model.modules())
        assert not torch.is_grad_enabled()
        torch.rand(3)
    assert [m.training for m in model.modules()] == before
    assert torch.is_grad_enabled()
    assert torch.equal(state, torch.get_rng_state())


def test_ifd_worked_example_of_the_notes() -> None:
    """Toy model with logits M[last] + 0.3 * mean(context) * v over five tokens; values from the worked example."""
    rows = torch.tensor(
        [[1, 0, 0.5, -0.5, 0.2], [0, 2, 1, 0, -1], [0.3, 0.1, 0, 1.5, 0.4], [0, 0, 0, 0, 0], [1, 1, -1, 0.5, 0]]
    )

    class Toy:
        def token_nll(self, batch: Batch) -> TokenNLL:
            ids = batch.input_ids
            mean = (ids * batch.attention_mask).cumsum(1) / torch.arange(1, ids.shape[1] + 1)
            logits = rows[ids] + 0.3 * mean[..., None] * torch.arange(5)
            scored = batch.scored[:, 1:]
            nll = -logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
            return TokenNLL(nll[scored], scored.nonzero()[:, 0], torch.zeros(int(scored.sum()), dtype=torch.bool))

    texts = {
        (0, UNCONDITIONED): ([4, 2, 3, 1], 1), (0, CONDITIONED): ([4, 1, 2, 4, 2, 3, 1], 4),
        (1, UNCONDITIONED): ([4, 3, 3], 1), (1, CONDITIONED): ([4, 2, 3, 3], 2),
        (2, UNCONDITIONED): ([4, 3], 2), (2, CONDITIONED): ([4, 2, 3], 3),
    }  # fmt: skip

    class Store(ListStore):
        def encoded(self, index: int, view: str, /) -> EncodedView:
            ids, start = texts[index, view]
            return EncodedView(np.array(ids, np.int32), np.arange(len(ids)) >= start)

    store = Store([make_example(i, "x") for i in range(3)])
    values = ScoringEngine(METRICS).score(Toy(), store, np.arange(3)).values
    np.testing.assert_allclose(values["nll"][:2], [2.342437, 1.044464], atol=1e-6)
    np.testing.assert_allclose(values["ifd"][:2], [0.779292, 0.750890], atol=1e-6)
    np.testing.assert_allclose(values["loss_ratio"][:2], [0.903785, 0.784745], atol=1e-6)
    assert np.isnan(values["ifd"][2])


def test_sum_and_count_by_hand() -> None:
    tokens = TokenNLL(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 0, 2]), torch.zeros(3, dtype=torch.bool))
    assert sum_and_count(tokens, 3).tolist() == [[3.0, 2.0], [0.0, 0.0], [4.0, 1.0]]


def test_the_prior_of_zero_makes_the_loss_ratio_unscorable() -> None:
    summaries = {CONDITIONED: torch.tensor([[1.0, 2.0]]), UNCONDITIONED: torch.tensor([[0.0, 2.0]])}
    assert torch.isnan(LossRatioIFD().combine(summaries)).all()
    assert InstructionFollowingDifficulty().combine(summaries).item() == pytest.approx(np.exp(0.5))


def test_examples_keep_their_place(toy_examples: list[Example]) -> None:
    store = ListStore(toy_examples)
    forward = ScoringEngine(METRICS, 50).score(BigramModel(), store, np.arange(40)).values["nll"]
    backward = ScoringEngine(METRICS, 50).score(BigramModel(), store, np.arange(40)[::-1].copy()).values["nll"]
    np.testing.assert_allclose(forward, backward[::-1], rtol=1e-6)


def _reference_packing(lengths: list[int], budget: int) -> list[list[int]]:
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    for item in order:
        batch = batches[-1] if batches else []
        longest = lengths[batch[0]] if batch else 0
        full = (len(batch) + 1) * longest > budget
        unlike = lengths[item] < 0.9 * longest and 4 * len(batch) * longest >= budget
        if not batch or full or unlike:
            batches.append([item])
        else:
            batch.append(item)
    return batches


@pytest.mark.parametrize("budget", [1, 50, 400, 2048, 100_000])
def test_a_batch_ends_where_padding_would_cost_more(budget: int) -> None:
    lengths = np.random.default_rng(budget).geometric(0.02, 500)
    batches = pack_by_tokens(lengths, budget)
    assert [b.tolist() for b in batches] == _reference_packing(lengths.tolist(), budget)


def _reference_rows(lengths: list[int], kinds: list[int], budget: int) -> list[list[int]]:
    """One kind after the other, longest first, item by item into the open batch until it would be too full."""
    batches: list[list[int]] = []
    for item in sorted(range(len(lengths)), key=lambda i: (kinds[i], -lengths[i], i)):
        batch = batches[-1] if batches else []
        fits = (
            bool(batch) and kinds[batch[0]] == kinds[item] and sum(lengths[i] for i in batch) + lengths[item] <= budget
        )
        if fits:
            batch.append(item)
        else:
            batches.append([item])
    return batches


@pytest.mark.parametrize("budget", [1, 50, 400, 2048, 100_000])
def test_without_padding_a_batch_holds_one_view_and_its_tokens_count(budget: int) -> None:
    generator = np.random.default_rng(budget)
    lengths, kinds = generator.geometric(0.02, 500), generator.integers(0, 3, 500)
    batches = pack_rows(lengths, kinds, budget)
    assert [b.tolist() for b in batches] == _reference_rows(lengths.tolist(), kinds.tolist(), budget)
    assert pack_rows(lengths[:0], kinds[:0], budget) == []


def test_a_model_without_padding_gets_whole_batches_of_one_view(toy_store: ListStore) -> None:
    class Seen(BigramModel):
        def __init__(self, runs_padding: bool) -> None:
            super().__init__()
            self.runs_padding = runs_padding
            self.batches: list[list[int]] = []

        def token_nll(self, batch: Batch) -> TokenNLL:
            self.batches.append(batch.attention_mask.sum(dim=1).tolist())
            return super().token_nll(batch)

    padded, whole = Seen(True), Seen(False)
    scores = [ScoringEngine(METRICS, 200).score(m, toy_store, np.arange(40)) for m in (padded, whole)]
    for name in METRICS:
        np.testing.assert_allclose(scores[0].values[name], scores[1].values[name], rtol=1e-12)
    assert scores[1].padded_tokens == scores[1].tokens == scores[0].tokens < scores[0].padded_tokens
    assert len(whole.batches) < len(padded.batches)
    assert all(sum(rows) <= 200 for rows in whole.batches)
    assert any(len(rows) * max(rows) > 200 for rows in whole.batches), "the budget counts tokens, not positions"
