"""The loop trains on exactly what the policy planned, scored with the weights of that moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_curriculum import CurriculumCallback, CurriculumObserver, StageReport
from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.difficulty.base import TextMetric
from lit_curriculum.difficulty.engine import ScoringEngine
from lit_curriculum.difficulty.loss_metrics import NegativeLogLikelihood
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import Example, ExampleStore, FloatArray, IntArray, Plan
from lit_curriculum.utils.eval_mode import evaluation_mode
from tests.conftest import ListStore, make_example
from tests.toy import ToyData, ToyModule, toy_trainer


class Hardest(CurriculumPolicy):
    """The ``sizes[stage]`` examples of highest loss; re-scores everything."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes
        self.asked: list[int] = []

    @property
    def required_metrics(self) -> tuple[str, ...]:
        return ("nll",)

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        self.num_examples = len(examples)

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        return np.arange(self.num_examples)

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        self.asked.append(stage)
        order = np.argsort(-table.scores["nll"], kind="stable")[: self.sizes[stage]]
        return Plan(indices=generator.permutation(order), scalars={"hardest": float(table.scores["nll"].max())})

    def stage_sizes(self, num_examples: int, num_stages: int) -> list[int]:
        return self.sizes[:num_stages]


class Words(TextMetric):
    unit = "words"

    @property
    def formula(self) -> str:
        return "words/1"

    def score(self, examples: ExampleStore) -> FloatArray:
        return np.array([len(examples[i].response.split()) or np.nan for i in range(len(examples))], dtype=float)


class Recorder(Callback, CurriculumObserver):
    """Sees each plan, and the scores that the model gives at that very moment."""

    def __init__(self) -> None:
        self.reports: list[StageReport] = []
        self.scores: list[FloatArray] = []
        self.lengths: list[Any] = []

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        self.reports.append(report)
        module, data = trainer.lightning_module, trainer.datamodule  # type: ignore[attr-defined]
        with evaluation_mode(module):
            engine = ScoringEngine({"nll": NegativeLogLikelihood()}, token_budget=64)
            scores = engine.score(module, data.train_store, np.arange(len(data.train_store)))
        self.scores.append(scores.values["nll"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.lengths.append(trainer.num_training_batches)


def run(tmp_path: Path, examples: list[Example], sizes: list[int], **options: Any) -> tuple[ToyModule, Recorder]:
    module, recorder = ToyModule(), Recorder()
    workers = options.pop("num_workers", 0)
    curriculum = CurriculumCallback(Hardest(sizes), {"nll": NegativeLogLikelihood()})
    trainer = toy_trainer(tmp_path, len(sizes), callbacks=[curriculum, recorder], **options)
    trainer.fit(module, ToyData(examples, num_workers=workers))
    return module, recorder


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_stage_trains_on_its_plan_and_nothing_else(
    tmp_path: Path, toy_examples: list[Example], num_workers: int
) -> None:
    sizes = [8, 21, 4, 40]  # growing and shrinking: the loader's length has to follow
    module, recorder = run(tmp_path, toy_examples, sizes, num_workers=num_workers)
    planned = [i for report in recorder.reports for i in report.plan.indices.tolist()]
    assert [i for batch in module.trained for i in batch] == planned
    assert [len(r.plan) for r in recorder.reports] == sizes
    assert recorder.lengths == [2, 6, 1, 10]


def test_scores_are_those_of_the_model_at_the_stage_boundary(tmp_path: Path, toy_examples: list[Example]) -> None:
    _, recorder = run(tmp_path, toy_examples, [8, 8, 8])
    for report, now in zip(recorder.reports, recorder.scores, strict=True):
        hardest = set(np.argsort(-now, kind="stable")[:8].tolist())
        assert set(report.plan.indices.tolist()) == hardest
    assert not np.allclose(recorder.scores[0], recorder.scores[1])
    assert np.isnan(recorder.reports[0].overlap)
    assert recorder.reports[0].scored_tokens > 0


def test_the_horizon_counts_the_steps_that_are_made(tmp_path: Path, toy_examples: list[Example]) -> None:
    module, _ = run(tmp_path, toy_examples, [8, 21, 5], accumulate_grad_batches=2)
    assert module.horizon_steps == 1 + 3 + 1
    assert module.trainer.global_step == module.horizon_steps
    assert module.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.5 * 0.1)


def test_the_refresh_leaves_no_trace_on_training(tmp_path: Path, toy_examples: list[Example]) -> None:
    class NoScores(Hardest):
        """The same plans as a recorded run, without scoring."""

        def __init__(self, plans: list[list[int]]) -> None:
            super().__init__([len(p) for p in plans])
            self.plans = plans

        def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
            return np.empty(0, dtype=np.int64)

        def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
            return Plan(indices=np.array(self.plans[stage]))

    class Dropout(ToyModule):
        def __init__(self) -> None:
            super().__init__(dropout=0.3)

    def train(policy: CurriculumPolicy, recorder: list[Callback]) -> ToyModule:
        torch.manual_seed(1)
        module = Dropout()
        callback = CurriculumCallback(policy, {"nll": NegativeLogLikelihood()})
        toy_trainer(tmp_path, 3, callbacks=[callback, *recorder]).fit(module, ToyData(toy_examples))
        return module

    recorder = Recorder()
    scored = train(Hardest([8, 8, 8]), [recorder])
    plain = train(NoScores([r.plan.indices.tolist() for r in recorder.reports]), [])
    assert scored.losses == plain.losses
    assert torch.equal(scored.table, plain.table)


def test_text_metrics_are_scored_once_and_unscorable_examples_are_noted(tmp_path: Path) -> None:
    examples = [make_example(i, "w " * (i % 3)) for i in range(9)]
    callback = CurriculumCallback(Hardest([4, 4]), {"nll": NegativeLogLikelihood(), "words": Words()})
    toy_trainer(tmp_path, 2, callbacks=[callback]).fit(ToyModule(), ToyData(examples))
    assert callback.table is not None
    assert callback.table.unscorable("words").tolist() == [i % 3 == 0 for i in range(9)]
    assert callback.table.scored_at["words"].tolist() == [0] * 9
    assert callback.table.scored_at["nll"].tolist() == [1] * 9


def test_an_epoch_end_checkpoint_holds_the_next_order_and_continues_alike(
    tmp_path: Path, toy_examples: list[Example]
) -> None:
    straight, _ = run(tmp_path, toy_examples, [8, 8, 8, 8])

    def train(module: ToyModule, extra: list[Callback], resume: str | None) -> None:
        checkpoint = ModelCheckpoint(tmp_path / "ckpt", filename="{epoch}", save_top_k=-1)
        callback = CurriculumCallback(Hardest([8, 8, 8, 8]), {"nll": NegativeLogLikelihood()})
        trainer = toy_trainer(tmp_path, 4, callbacks=[callback, checkpoint, *extra], enable_checkpointing=True)
        trainer.fit(module, ToyData(toy_examples), ckpt_path=resume, weights_only=True)

    first, second = ToyModule(), ToyModule()
    with pytest.raises(_KilledError):
        train(first, [_Stop(2)], None)
    train(second, [], str(tmp_path / "ckpt" / "epoch=1.ckpt"))
    assert first.trained[:4] + second.trained == straight.trained
    assert first.losses[:4] + second.losses == straight.losses
    assert torch.equal(second.table, straight.table)


class _KilledError(Exception):
    pass


class _Stop(Callback):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch >= self.epochs:
            raise _KilledError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_epochs": -1}, r"trainer.max_epochs=-1: one epoch is one stage"),
        ({"overfit_batches": 2}, r"trainer.overfit_batches replaces the sampler"),
        ({"limit_train_batches": 3}, r"trainer.limit_train_batches=3 would cut"),
        ({"reload_dataloaders_every_n_epochs": 0}, r"reload_dataloaders_every_n_epochs=0, but"),
    ],
)
def test_trainer_settings_that_break_the_curriculum_are_refused(
    tmp_path: Path, toy_examples: list[Example], options: dict[str, Any], message: str
) -> None:
    callback = CurriculumCallback(Hardest([4]), {"nll": NegativeLogLikelihood()})
    settings = {"max_epochs": 1, **options}
    with pytest.raises(MisconfigurationException, match=message):
        toy_trainer(tmp_path, callbacks=[callback], **settings).fit(ToyModule(), ToyData(toy_examples))


def test_fast_dev_run_works(tmp_path: Path, toy_examples: list[Example]) -> None:
    callback = CurriculumCallback(Hardest([12, 4]), {"nll": NegativeLogLikelihood()})
    module = ToyModule()
    toy_trainer(tmp_path, 1, callbacks=[callback], fast_dev_run=True).fit(module, ToyData(toy_examples))
    assert len(module.trained) == 1


def test_a_loader_built_early_is_refused(tmp_path: Path, toy_examples: list[Example]) -> None:
    class Early(ToyModule):
        def configure_optimizers(self) -> Any:
            assert self.trainer.estimated_stepping_batches
            return super().configure_optimizers()

    callback = CurriculumCallback(Hardest([4]), {"nll": NegativeLogLikelihood()})
    with pytest.raises(RuntimeError, match="before the curriculum had made its first order"):
        toy_trainer(tmp_path, 1, callbacks=[callback]).fit(Early(), ToyData(toy_examples))


def test_what_the_loop_needs_is_named_where_it_is_missing(tmp_path: Path, toy_examples: list[Example]) -> None:
    with pytest.raises(ValueError, match=r"Hardest reads the metric 'nll'"):
        CurriculumCallback(Hardest([4]))

    class Mute(ToyModule):
        token_nll = None  # type: ignore[assignment]

    def fit(module: LightningModule, data: Any) -> None:
        callback = CurriculumCallback(Hardest([4]), {"nll": NegativeLogLikelihood()})
        toy_trainer(tmp_path, 1, callbacks=[callback]).fit(module, data)

    with pytest.raises(MisconfigurationException, match=r"curriculum\.metrics\.nll needs .* token_nll, which Mute"):
        fit(Mute(), ToyData(toy_examples))

    class Plain(ToyData):
        def setup(self, stage: str) -> None:
            self.train_store = ListStore(self.examples)

    with pytest.raises(MisconfigurationException, match="attributes train_store and sampler"):
        fit(ToyModule(), Plain(toy_examples))


def test_a_model_that_breaks_stops_with_the_example(tmp_path: Path, toy_examples: list[Example]) -> None:
    module = ToyModule()
    with torch.no_grad():
        module.table.fill_(torch.nan)
    callback = CurriculumCallback(Hardest([4]), {"nll": NegativeLogLikelihood()})
    with pytest.raises(ValueError, match="loss is NaN or infinite"):
        toy_trainer(tmp_path, 1, callbacks=[callback]).fit(module, ToyData(toy_examples))


def test_a_foreign_state_is_refused(tmp_path: Path, toy_examples: list[Example]) -> None:
    def checkpoint(seed: int, resume: str | None) -> None:
        callbacks = [
            CurriculumCallback(Hardest([8, 8]), {"nll": NegativeLogLikelihood()}, seed=seed),
            ModelCheckpoint(tmp_path, filename="last", save_top_k=1),
        ]
        trainer = toy_trainer(tmp_path, 2, callbacks=callbacks, enable_checkpointing=True)
        trainer.fit(ToyModule(), ToyData(toy_examples), ckpt_path=resume, weights_only=True)

    checkpoint(0, None)
    with pytest.raises(ValueError, match=r"another run: curriculum.seed was 0 and is 1 now"):
        checkpoint(1, str(tmp_path / "last.ckpt"))
