"""Losses under a reference model trained on the spot: against the same training written out, and without a trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lit_curriculum import ReferenceLoss
from lit_curriculum.difficulty.learned import UpdateContext
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.reference_loss import fold_of
from lit_curriculum.types import CONDITIONED, Batch, Example, FloatArray, make_generator
from lit_curriculum.utils.eval_mode import evaluation_mode
from tests.conftest import ListStore, make_example
from tests.toy import ToyModule


def _score(module: ToyModule, store: ListStore, metric: ReferenceLoss) -> FloatArray:
    context = UpdateContext(
        model=module, device=torch.device("cpu"), store=store, table=DifficultyTable(len(store), []), stage=0,
        generator=make_generator(0, 0, "reference"),
    )  # fmt: skip
    with evaluation_mode(module):
        cost = metric.update(context)
        assert cost.forward_tokens > 0
        assert np.isfinite(cost.scalars["last_training_loss"])
        return metric.score(context, np.arange(len(store)))


def _reference_reference_loss(store: ListStore, metric: ReferenceLoss) -> FloatArray:
    """One example at a time, each fold with a separate module."""
    generator = make_generator(0, 0, "reference")
    folds = np.array([int(e.content_hash[:8], 16) % metric.folds for e in store.examples])
    found = np.full(len(store), np.nan)
    for fold in range(metric.folds):
        module = ToyModule()
        others = [i for i in range(len(store)) if metric.folds == 1 or folds[i] != fold]
        wanted = round(metric.passes * len(others))
        order: list[int] = []
        while len(order) < wanted:
            order += generator.permutation(others).tolist()
        optimizer = torch.optim.AdamW(module.parameters(), lr=metric.learning_rate, weight_decay=0.01)
        for start in range(0, wanted, metric.batch_size):
            batch = order[start : min(start + metric.batch_size, wanted)]
            losses = [module.token_nll(Batch.from_views([(i, 1.0, store.encoded(i, CONDITIONED))])).nll for i in batch]
            optimizer.zero_grad()
            torch.cat(losses).mean().backward()
            optimizer.step()
        for i in np.flatnonzero(folds == fold).tolist():
            with torch.no_grad():
                found[i] = module.token_nll(Batch.from_views([(i, 1.0, store.encoded(i, CONDITIONED))])).nll.mean()
    return found


@pytest.mark.parametrize("folds", [1, 2, 3])
def test_equals_its_slow_twin_and_leaves_no_trace(folds: int, toy_examples: list[Example]) -> None:
    store, module = ListStore(toy_examples), ToyModule(dropout=0.3)
    metric = ReferenceLoss(folds=folds, passes=2.5, batch_size=7, learning_rate=0.05)
    before, state = module.table.detach().clone(), torch.get_rng_state()
    found = _score(module, store, metric)
    np.testing.assert_allclose(found, _reference_reference_loss(store, metric), rtol=1e-4)
    assert torch.equal(module.table, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert module.table.grad is None
    assert module.training
    np.testing.assert_allclose(_score(module, store, metric), found, rtol=1e-6)


def test_no_loss_is_of_an_example_that_its_model_has_seen(toy_examples: list[Example]) -> None:
    """Ever more training on the other half raises the loss of a planted oddity, and lowers it where it is seen."""
    odd = make_example(40, "zzqq zzqq")
    store = ListStore([*toy_examples, odd, make_example(41, "zzqq zzqq")])
    assert store[40].content_hash == store[41].content_hash
    assert fold_of(store, 2)[40] == fold_of(store, 2)[41]
    options: dict[str, Any] = {"passes": 20.0, "learning_rate": 0.1}
    held_out = _score(ToyModule(), store, ReferenceLoss(folds=2, **options))
    seen = _score(ToyModule(), store, ReferenceLoss(folds=1, **options))
    assert held_out[40] > 2 * seen[40]


def test_it_is_due_once_and_keeps_nothing() -> None:
    metric = ReferenceLoss()
    assert [metric.is_due(stage) for stage in range(3)] == [True, False, False]
    assert metric.state_dict() == {}
    metric.load_state_dict({})
    assert metric.formula == "reference-nll/1(folds=2,passes=3,batch=32,lr=0.001,decay=0.01)"


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ReferenceLoss.folds must be at least 1, got 0"):
        ReferenceLoss(folds=0)
    with pytest.raises(ValueError, match=r"ReferenceLoss.passes must be above 0, got 0"):
        ReferenceLoss(passes=0.0)
    with pytest.raises(ValueError, match=r"fold \d of 5 leaves \d examples to score and \d to train on"):
        _score(ToyModule(), ListStore([make_example(0, "a"), make_example(1, "b")]), ReferenceLoss(folds=5))
