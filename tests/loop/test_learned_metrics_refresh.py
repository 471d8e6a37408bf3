"""Learned metrics inside real runs: resume, traces on the model, cost, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lit_curriculum import (
    AbilityDataModule,
    CausalLMModule,
    CurriculumCallback,
    CurriculumMonitor,
    CurriculumObserver,
    DifficultyTable,
    ExceptionCheckpoint,
    HiddenStates,
    LearnedScorer,
    NegativeLogLikelihood,
    OrderedPolicy,
    Pairwise,
    Reweighting,
    StageReport,
)
from lit_curriculum.difficulty.learned import UpdateContext, UpdateCost
from lit_curriculum.loop.scoring import update_metric
from lit_curriculum.types import Example
from lit_curriculum.utils.progress import no_display
from tests.toy import ToyData, ToyModule, toy_trainer

CONFIG = {
    "model_type": "llama", "vocab_size": 102, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip


def scorer(objective: str) -> LearnedScorer:
    if objective == "pairwise":
        return LearnedScorer(Pairwise(num_answers=12, max_new_tokens=6), steps=15)
    features = HiddenStates() if objective == "hidden" else None
    return LearnedScorer(Reweighting(num_losses=30), features, steps=15)


class Watch(Callback, CurriculumObserver):
    def __init__(self) -> None:
        self.reports: list[StageReport] = []
        self.plans: list[list[int]] = []
        self.scores: list[list[float]] = []

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        self.reports.append(report)
        self.plans.append(report.plan.indices.tolist())
        self.scores.append(report.table.scores["learned"].tolist())


def run(
    folder: Path, metric: LearnedScorer, resume: str | None = None, **flags: Any
) -> tuple[Watch, Mapping[str, Any]]:
    watch = Watch()
    callback = CurriculumCallback(
        OrderedPolicy("learned", fraction=0.5, rescore=flags.get("rescore", "never")),
        {"loss": NegativeLogLikelihood(), "learned": metric},
    )
    saved = ModelCheckpoint(folder, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=4, logger=flags.get("logger", False), enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0, limit_val_batches=0,
        callbacks=[callback, watch, CurriculumMonitor(), saved, ExceptionCheckpoint(str(folder / "exception"))],
    )  # fmt: skip
    module = CausalLMModule(config=CONFIG, optimizer=_adam)
    data = AbilityDataModule(num_train=60, num_val_per_ability=1, batch_size=8, cache_dir=str(folder.parent / "cache"))
    trainer.fit(module, data, ckpt_path=resume, weights_only=True)
    return watch, module.state_dict()


def _adam(params: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, lr=1e-2)


@pytest.mark.parametrize("objective", ["reweighting", "pairwise", "hidden"])
def test_killed_runs_continue_to_the_same_scores_and_weights(tmp_path: Path, objective: str) -> None:
    straight, weights = run(tmp_path / "straight", scorer(objective))
    assert len(straight.plans) == 4
    assert straight.scores[0] != straight.scores[1]
    # In the middle of stage 1: four batches a stage.
    resumed, again = run(tmp_path / "resumed", scorer(objective), str(tmp_path / "straight" / "step=6.ckpt"))
    assert resumed.plans == straight.plans[2:]
    assert resumed.scores == straight.scores[2:]
    assert all(torch.equal(weights[name], again[name]) for name in weights)


@pytest.mark.parametrize("objective", ["reweighting", "pairwise"])
def test_a_refresh_that_fails_after_the_update_is_made_again_from_where_it_began(
    tmp_path: Path, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, weights = run(tmp_path / "straight", scorer(objective))
    failing = scorer(objective)
    update = failing.update

    def fail_after_update(context: UpdateContext) -> UpdateCost:
        cost = update(context)
        if context.stage == 2:
            raise ConnectionError("struck in the middle of a refresh")
        return cost

    monkeypatch.setattr(failing, "update", fail_after_update)
    with pytest.raises(ConnectionError):
        run(tmp_path / "killed", failing)
    (left,) = (tmp_path / "killed" / "exception").glob("*.ckpt")
    resumed, again = run(tmp_path / "killed", scorer(objective), str(left))
    assert resumed.scores == straight.scores[2:]
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_cost_and_agreement_reach_report_and_loggers(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="log", version="")
    # The most likely answer of a model that has learnt nothing may be none; drawn ones have tokens.
    drawn = LearnedScorer(Pairwise(num_answers=12, max_new_tokens=6, temperature=1.0), steps=15)
    watch, _ = run(tmp_path, drawn, logger=logger, rescore="each_stage")
    learning = watch.reports[1].learning
    assert learning.seconds > 0
    assert 0 < learning.generated_tokens <= 12 * 6
    assert learning.forward_tokens > 0
    assert learning.scalars["learned/generated_tokens"] == learning.generated_tokens
    assert learning.scalars["learned/seconds"] == pytest.approx(learning.seconds)
    logged = (tmp_path / "log" / "metrics.csv").read_text().splitlines()[0]
    for name in ("learning_seconds", "generated_tokens", "learning_forward_tokens", "learned/agreement_before"):
        assert f"curriculum/{name}" in logged
    hidden, _ = run(tmp_path / "hidden", scorer("hidden"))
    assert hidden.reports[0].learning.forward_tokens > 60 * 10


def test_an_update_leaves_no_trace_on_the_model(tmp_path: Path) -> None:
    module = CausalLMModule(config=CONFIG)
    module.configure_model()
    module.train()
    assert module.model is not None
    module.model.get_input_embeddings().eval()  # type: ignore[operator]
    data = AbilityDataModule(num_train=40, num_val_per_ability=1, batch_size=8, cache_dir=str(tmp_path))
    data.prepare_data()
    data.setup("fit")
    metric = scorer("pairwise")
    table = DifficultyTable(len(data.train_store), ["loss"])
    table.enter("loss", np.arange(len(data.train_store)), np.arange(len(data.train_store)) / 7, 0)
    before = {n: v.clone() for n, v in module.state_dict().items()}
    flags = [m.training for m in module.modules()]
    random = torch.get_rng_state()
    generator = np.random.default_rng(0)
    scores, _ = update_metric(module, data.train_store, table, no_display, "learned", metric, 0, generator)
    assert [m.training for m in module.modules()] == flags
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(v, module.state_dict()[n]) for n, v in before.items())
    assert all(p.grad is None for p in module.parameters())
    assert np.isfinite(scores).all()


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match=r"curriculum\.metrics\.learned reads the metric 'loss'"):
        CurriculumCallback(OrderedPolicy("learned"), {"learned": LearnedScorer()})


def test_a_model_that_cannot_answer_is_refused(tmp_path: Path, toy_examples: list[Example]) -> None:
    callback = CurriculumCallback(
        OrderedPolicy("learned"), {"loss": NegativeLogLikelihood(), "learned": LearnedScorer(Pairwise())}
    )
    with pytest.raises(
        MisconfigurationException, match=r"curriculum\.metrics\.learned needs the model's method generate"
    ):
        toy_trainer(tmp_path, 1, callbacks=[callback]).fit(ToyModule(), ToyData(toy_examples))
