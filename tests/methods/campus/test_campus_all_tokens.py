"""Perplexity over all tokens: the metric and the scheduler's use of it, each against a slow reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lit_curriculum import ConversationNLL, CurriculumCallback, NegativeLogLikelihood, ScoringEngine
from lit_curriculum.difficulty.base import encoded_view, num_scored
from lit_curriculum.methods.campus.policy import CampusPolicy
from lit_curriculum.types import CONDITIONED, WHOLE, EncodedView, Example
from tests.conftest import ListStore, make_example
from tests.difficulty.bigram import BigramModel, _reference_mean_nll
from tests.methods.campus.campus_toys import ReferenceRun, ScriptedRun
from tests.toy import ToyData, ToyModule, toy_trainer

THREE = ["length", "mtld", "loss"]


def test_the_mean_loss_of_all_tokens_equals_the_one_at_a_time_reference(toy_store: ListStore) -> None:
    model, order = BigramModel(), np.random.default_rng(0).permutation(len(toy_store))
    metrics = {"all": ConversationNLL(), "response": NegativeLogLikelihood()}
    with torch.no_grad():
        found = ScoringEngine(metrics, 60).score(model, toy_store, order).values
    for place, index in enumerate(order.tolist()):
        ids = toy_store.encoded(index, CONDITIONED).input_ids
        everything = EncodedView(ids, np.ones(len(ids), dtype=bool))
        assert found["all"][place] == pytest.approx(_reference_mean_nll(model, everything), rel=1e-5)
    assert not np.allclose(found["all"], found["response"], equal_nan=True)


def test_the_first_token_and_nothing_else_is_left_out() -> None:
    store = ListStore([make_example(0, "ab", "q"), make_example(1, "", "q")])
    assert encoded_view(store, 0, WHOLE).scored.tolist() == [False, True, True, True, True]
    assert num_scored(store, WHOLE).tolist() == [4, 2]
    assert num_scored(store, CONDITIONED).tolist() == [2, 0]


@pytest.mark.parametrize("pool", ["tokens", "examples"])
@pytest.mark.parametrize("clock", ["per_schedule", "shared"])
def test_the_trace_over_all_tokens_equals_the_slow_twin(clock: str, pool: str) -> None:
    def policy(on: str) -> CampusPolicy:
        return CampusPolicy(THREE, num_bands=8, clock=clock, ppl_pool=pool, ppl_on=on, budget_passes=2.0)  # type: ignore[arg-type]

    found = ScriptedRun(policy("all")).run()
    expected = ReferenceRun(THREE, bands=8, clock=clock, pool=pool, on="all", budget=120).run()
    assert [t["chosen"] for t in found] == [t["chosen"] for t in expected]
    assert [t["orders"] for t in found] == [t["orders"] for t in expected]
    for mine, his in zip(found, expected, strict=True):
        for number, perplexity in his["ppl"].items():
            assert mine["perplexities"][number] == pytest.approx(perplexity, rel=1e-12)
    assert [t["chosen"] for t in found] != [t["chosen"] for t in ScriptedRun(policy("response")).run()]


def test_it_runs_in_training_and_a_missing_metric_is_named(tmp_path: Path, toy_examples: list[Example]) -> None:
    policy = CampusPolicy(["length_like", "loss"], num_bands=2, ppl_on="all")
    assert policy.required_metrics == ("length_like", "loss", "loss_all")
    with pytest.raises(ValueError, match="loss_all"):
        CurriculumCallback(policy, {"length_like": NegativeLogLikelihood(), "loss": NegativeLogLikelihood()})
    metrics = {"length_like": ConversationNLL(), "loss": NegativeLogLikelihood(), "loss_all": ConversationNLL()}
    callback = CurriculumCallback(policy, metrics)
    toy_trainer(tmp_path, 8, callbacks=[callback]).fit(ToyModule(), ToyData(toy_examples))
    assert policy.finished(callback.planner.stage + 1)
    with pytest.raises(ValueError, match=r"curriculum.policy.ppl_on must be one of response"):
        CampusPolicy(THREE, ppl_on="prompt")  # type: ignore[arg-type]
