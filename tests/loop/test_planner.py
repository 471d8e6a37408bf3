"""The planner without a trainer plans what the callback trains on, and its state round-trips."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lit_curriculum import (
    CampusPolicy,
    CurriculumCallback,
    CurriculumSampler,
    DifficultyMetric,
    HashedNgrams,
    IterITPolicy,
    LearnedMetric,
    LearnedScorer,
    Length,
    NegativeLogLikelihood,
    OrderedPolicy,
    ScoringEngine,
    StagePlanner,
)
from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.difficulty.engine import Scores
from lit_curriculum.difficulty.learned import UpdateCost
from lit_curriculum.loop.scoring import update_metric
from lit_curriculum.types import Batch, Example, FloatArray, IntArray
from lit_curriculum.utils.eval_mode import evaluation_mode
from lit_curriculum.utils.progress import no_display
from tests.conftest import ListStore, make_example
from tests.loop.loss_runs import LossModule
from tests.toy import ToyData, ToyRows, toy_trainer

STAGES = 8


def iterit() -> CurriculumPolicy:
    return IterITPolicy(complexity="loss", score="complexity", fraction=0.3, max_complexity=None)


def campus() -> CurriculumPolicy:
    return CampusPolicy(["length", "loss", "learned"], num_bands=4, budget_passes=1.5)


def loss_of_training() -> CurriculumPolicy:
    return OrderedPolicy("loss", "hard_to_easy", fraction=0.5, rescore="never")


def metrics() -> dict[str, DifficultyMetric]:
    learned = LearnedScorer(features=HashedNgrams(buckets=32), steps=5)
    return {"length": Length(field="both"), "loss": NegativeLogLikelihood(), "learned": learned}


def train_alone(policy: CurriculumPolicy, examples: list[Example], training_loss_metric: str | None) -> LossModule:
    """A training loop in plain PyTorch around the planner."""
    module, store = LossModule(), ListStore(examples)
    module.log = lambda *args, **options: None  # type: ignore[method-assign, assignment]
    sampler = CurriculumSampler(len(store), num_replicas=1, rank=0, batch_size=4)
    planner = StagePlanner(policy, metrics(), 5, training_loss_metric)
    planner.setup(store, STAGES, sampler)
    planner.score_texts()
    module.horizon_steps = planner.num_steps()
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    engine = ScoringEngine({"loss": NegativeLogLikelihood()})

    def score(indices: IntArray, stage: int) -> Scores:
        with evaluation_mode(module):
            return engine.score(module, store, indices)

    def update(name: str, metric: LearnedMetric, stage: int, generator: Any) -> tuple[FloatArray, UpdateCost]:
        return update_metric(module, store, planner.table, no_display, name, metric, stage, generator)

    for stage in range(STAGES):
        if planner.finished(stage):
            break
        planner.plan(stage, score, update)
        for at, batch in enumerate(DataLoader(ToyRows(store), 4, sampler=sampler, collate_fn=Batch.from_views)):
            outputs = module.training_step(batch, at)
            optimizer.zero_grad()
            outputs["loss"].backward()
            optimizer.step()
            schedule.step()
            if training_loss_metric is not None:
                planner.training_losses.add(outputs)
    return module


@pytest.mark.parametrize(
    ("policy", "training_loss_metric"), [(iterit, None), (campus, None), (loss_of_training, "loss")]
)
def test_the_planner_alone_trains_what_the_callback_trains(
    tmp_path: Path, toy_examples: list[Example], policy: Any, training_loss_metric: str | None
) -> None:
    module = LossModule()
    callback = CurriculumCallback(policy(), metrics(), seed=5, training_loss_metric=training_loss_metric)
    toy_trainer(tmp_path, STAGES, callbacks=[callback]).fit(module, ToyData(toy_examples))
    alone = train_alone(policy(), toy_examples, training_loss_metric)
    assert alone.trained == module.trained
    assert alone.losses == module.losses
    assert len({tuple(batch) for batch in alone.trained}) > 4


def scripted(policy: CurriculumPolicy, num: int = 40, **options: Any) -> StagePlanner:
    """A planner over examples of different lengths, some of them without a response."""
    planner = StagePlanner(policy, metrics(), seed=3, **options)
    planner.setup(ListStore([make_example(i, "x" * (i % 13), f"q{i}") for i in range(num)]), STAGES)
    planner.score_texts()
    return planner


def score(indices: IntArray, stage: int) -> Scores:
    losses = np.where(indices % 13 == 0, np.nan, 1.0 + (indices * 7 % 11) / 10 - stage / 20)
    return Scores(values={"loss": losses}, tokens=100 + stage, seconds=0.5)


def update(name: str, metric: LearnedMetric, stage: int, generator: np.random.Generator) -> Any:
    return generator.uniform(size=40), UpdateCost(seconds=2.0, forward_tokens=7, scalars={"steps": 5.0})


@pytest.mark.parametrize("policy", [iterit, campus, loss_of_training])
def test_a_restored_planner_plans_the_same(policy: Any) -> None:
    def plans_of(planner: StagePlanner, stages: range) -> list[list[int]]:
        going = itertools.takewhile(lambda stage: not planner.finished(stage), stages)
        return [planner.plan(stage, score, update).plan.indices.tolist() for stage in going]

    straight, first = scripted(policy()), scripted(policy())
    plans = plans_of(straight, range(STAGES))
    plans_of(first, range(2))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = scripted(policy())
    second.load_state_dict(torch.load(file, weights_only=True), start=3)
    assert (second.stage, second.sampler.start) == (1, 3)
    assert second.sampler.plan is not None
    assert second.sampler.plan.indices.tolist() == plans[1]
    rest = plans_of(second, range(2, STAGES))
    assert rest == plans[2:] != []
    with pytest.raises(ValueError, match="curriculum state of version 9"):
        second.load_state_dict({**first.state_dict(), "version": 9})


def test_the_checkpoint_holds_these_parts() -> None:
    planner = scripted(iterit())
    planner.plan(0, score, update)
    parts = {"version", "stage", "sampler", "table", "policy", "free", "stateful"}
    assert set(planner.state_dict()) == parts


def test_a_report_adds_up_what_planning_cost() -> None:
    planner = scripted(campus())
    first, second = (planner.plan(stage, score, update) for stage in range(2))
    assert (second.stage, second.scored_tokens, second.scoring_seconds) == (1, 101, 0.5)
    assert second.previous is first.plan
    assert first.previous is None
    assert (second.learning.seconds, second.learning.forward_tokens) == (2.0, 7)
    assert second.learning.scalars["learned/steps"] == 5.0
    assert second.formulas == {name: metric.formula for name, metric in planner.metrics.items()}


def test_the_policy_ends_the_run() -> None:
    planner, stage = scripted(campus()), 0
    while not planner.finished(stage):
        planner.plan(stage, score, update)
        stage += 1
    assert 0 < stage <= STAGES
    assert sum(planner.policy.stage_sizes(40, STAGES)) == 60


def test_unscorable_examples_are_noted_and_never_imputed() -> None:
    planner = scripted(iterit())
    report = planner.plan(0, score, update)
    unscorable = np.flatnonzero(planner.table.unscorable("loss")).tolist()
    assert unscorable == [0, 13, 26, 39]
    assert not set(unscorable) & set(report.plan.indices.tolist())

    def infinite(indices: IntArray, stage: int) -> Scores:
        return Scores(values={"loss": np.where(indices == 5, np.inf, 1.0)})

    again = scripted(iterit())
    with pytest.raises(ValueError, match=r"metric 'loss': 1 of 40 scores are infinite"):
        again.plan(0, infinite)
    assert again.table.never_scored("loss").all()


def test_scores_in_the_table_are_enough_to_plan() -> None:
    planner = scripted(loss_of_training())
    planner.table.enter("loss", np.arange(40), np.arange(40.0), 0)
    planner.table.enter("length", np.arange(40), np.zeros(40), 0)
    planner.score_texts()
    assert not planner.table.scores["length"].any(), "known scores stay"
    assert planner.plan(0).plan.indices.tolist() == list(range(39, 19, -1))


class Counting(LearnedScorer):
    """Its state is the number of its updates."""

    count = 0

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


def test_an_interrupted_update_is_repeated_from_where_it_began() -> None:
    metric = Counting()
    planner = StagePlanner(loss_of_training(), {"loss": NegativeLogLikelihood(), "learned": metric})
    planner.setup(ListStore([make_example(i, "x", f"q{i}") for i in range(40)]), STAGES)

    def count(name: str, given: LearnedMetric, stage: int, generator: np.random.Generator) -> Any:
        metric.count += 1
        return np.zeros(40), UpdateCost()

    def interrupted(*given: Any) -> Any:
        count(*given)
        raise ConnectionError

    planner.plan(0, score, count)
    with pytest.raises(ConnectionError):
        planner.plan(1, score, interrupted)
    assert (planner.stage, planner.state_dict()["stateful"]) == (0, {"learned": {"count": 1}})
    planner.plan(1, score, count)
    assert (planner.stage, metric.count) == (1, 2)


def test_missing_metrics_are_named() -> None:
    with pytest.raises(ValueError, match=r"IterITPolicy reads the metric 'loss', .* has none"):
        StagePlanner(iterit())
    with pytest.raises(ValueError, match=r"curriculum\.metrics\.learned reads the metric 'loss'"):
        StagePlanner(OrderedPolicy("learned"), {"learned": LearnedScorer()})


@pytest.mark.slow
def test_the_planner_imports_neither_lightning_nor_transformers() -> None:
    code = "import sys, lit_curriculum.loop.planner; print({'lightning', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
