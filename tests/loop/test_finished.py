"""A policy that has nothing left to train on ends the run, and a run that has ended stays so after a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_curriculum import (
    BudgetedRefresh,
    CampusPolicy,
    CurriculumCallback,
    CurriculumObserver,
    HashedNgrams,
    LearnedScorer,
    Length,
    NegativeLogLikelihood,
    StageReport,
)
from lit_curriculum.types import Example
from tests.methods.campus.campus_toys import ScriptedRun
from tests.toy import ToyData, ToyModule, toy_trainer


class _Trace(Callback, CurriculumObserver):
    def __init__(self) -> None:
        self.plans: list[list[int]] = []
        self.scalars: list[dict[str, float]] = []

    def on_stage_planned(self, trainer: Any, report: StageReport) -> None:
        self.plans.append(report.plan.indices.tolist())
        self.scalars.append(dict(report.plan.scalars))


def _curriculum(**options: Any) -> CurriculumCallback:
    metrics = {
        "length": Length(field="both"),
        "loss": NegativeLogLikelihood(),
        "scorer": LearnedScorer(features=HashedNgrams(buckets=32), steps=5),
    }
    given = {"metrics": ["length", "loss", "scorer"], "num_bands": 4, "budget_passes": 1.5} | options
    return CurriculumCallback(CampusPolicy(**given), metrics)


def _fit(
    tmp_path: Path, examples: list[Example], max_epochs: int = 12, ckpt_path: str | None = None, **options: Any
) -> tuple[ToyModule, _Trace, Any]:
    module, trace = ToyModule(), _Trace()
    checkpoint = ModelCheckpoint(tmp_path, save_last=True, every_n_train_steps=1, save_top_k=-1)
    trainer = toy_trainer(
        tmp_path, max_epochs, callbacks=[_curriculum(**options), trace, checkpoint], enable_checkpointing=True
    )
    trainer.fit(module, ToyData(examples), ckpt_path=ckpt_path, weights_only=True)
    return module, trace, trainer


def test_the_run_ends_when_the_budget_is_spent(tmp_path: Path, toy_examples: list[Example]) -> None:
    module, trace, trainer = _fit(tmp_path, toy_examples)
    assert [i for plan in trace.plans for i in plan] == [i for batch in module.trained for i in batch]
    assert sum(len(plan) for plan in trace.plans) == 60
    assert trainer.current_epoch == len(trace.plans) < 12
    assert len({s["chosen"] for s in trace.scalars}) > 1
    assert module.horizon_steps is not None
    # Of each stage at most one batch is incomplete, so the horizon is off by less than the number of stages.
    assert abs(module.horizon_steps - len(module.trained)) < 12


@pytest.mark.parametrize("step", [4, 9])
def test_a_run_goes_on_from_any_step_to_the_same_end(tmp_path: Path, toy_examples: list[Example], step: int) -> None:
    whole, trace, _ = _fit(tmp_path / "whole", toy_examples)
    checkpoint = next((tmp_path / "whole").glob(f"*step={step}.ckpt"))
    rest, _, trainer = _fit(tmp_path / "rest", toy_examples, ckpt_path=str(checkpoint))
    assert rest.trained == whole.trained[step:]
    assert rest.losses == whole.losses[step:]
    assert trainer.current_epoch == len(trace.plans)


def test_a_run_that_has_ended_trains_no_more_when_resumed(tmp_path: Path, toy_examples: list[Example]) -> None:
    whole, _, _ = _fit(tmp_path / "whole", toy_examples)
    last = next((tmp_path / "whole").glob(f"*step={len(whole.trained)}.ckpt"))
    again, trace, _ = _fit(tmp_path / "again", toy_examples, ckpt_path=str(last))
    assert again.trained == []
    assert trace.plans == []


def test_too_few_stages_are_refused_with_the_number_needed(tmp_path: Path, toy_examples: list[Example]) -> None:
    with pytest.raises(ValueError, match=r"trainer\.max_epochs=3, but curriculum\.policy may take \d+ stages of 3 ban"):
        _fit(tmp_path, toy_examples, max_epochs=3)


def test_a_policy_inside_another_ends_too() -> None:
    policy = CampusPolicy(["length", "loss"], learned=[], num_bands=3)
    wrapped = BudgetedRefresh(policy, "loss")
    ScriptedRun(policy).run(1)
    assert not wrapped.finished(1)
    policy = CampusPolicy(["length", "loss"], learned=[], num_bands=3)
    wrapped = BudgetedRefresh(policy, "loss")
    trace = ScriptedRun(policy).run()
    assert wrapped.finished(len(trace))
