"""The loop: at the end of every stage score, step the policy, and hand the next order to the sampler."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.difficulty.engine import Autocast, TokenBudget
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.difficulty.training_losses import TrainingLossCollector, check_training_loss_metric
from lit_curriculum.loop.checks import check_module, check_reads, check_trainer, curriculum_data
from lit_curriculum.loop.hooks import CurriculumObserver, StageReport, prepare_stage, restore_data
from lit_curriculum.loop.horizon import horizon_steps
from lit_curriculum.loop.progress_bar import scoring_bar
from lit_curriculum.loop.resume import (
    StageProgress,
    check_continuable,
    check_identity,
    digest,
    plan_size,
    run_identity,
    seed_step,
)
from lit_curriculum.loop.scoring import LearnedMetrics, TableScorer
from lit_curriculum.types import make_generator

_VERSION = 1


class CurriculumCallback(Callback):
    """Drives a curriculum: one Lightning epoch is one stage.

    The order of stage 0 is made in ``on_fit_start``, before the first training loader exists; the order of stage
    s + 1 at the end of epoch s, before the checkpoint callbacks run, so that an epoch-end checkpoint holds the
    order that comes next. It is the only writer of the data module's sampler.

    Args:
        policy: Decides what a stage trains on.
        metrics: The difficulty metrics by the names that the policy reads.
        seed: Seed of everything that the policy draws; by default 0, and on the command line ``seed_everything``.
        token_budget: Padded tokens in one scoring batch, ``auto`` or ``device``; bounds memory, not scores.
        autocast: ``bfloat16`` takes the matrix products of scoring in that type: faster, and other scores.
        training_loss_metric: Name of a mean-loss metric that gets the losses of training itself, as of the stage trained.
        reuse_scores: Keep the first stage's losses in the user's cache folder for all runs that meet the same tokens.
    """

    def __init__(
        self,
        policy: CurriculumPolicy,
        metrics: dict[str, DifficultyMetric] | None = None,
        seed: int | None = None,
        token_budget: TokenBudget = "device",
        autocast: Autocast = "none",
        training_loss_metric: str | None = None,
        reuse_scores: bool = False,
    ) -> None:
        if training_loss_metric is not None:
            check_training_loss_metric(training_loss_metric, metrics or {})
        self.training_loss_metric, self._free = training_loss_metric, TrainingLossCollector()
        self.policy = policy
        self.metrics: dict[str, DifficultyMetric] = dict(metrics or {})
        self.seed = seed or 0
        check_reads(policy, self.metrics)
        self.reuse_scores = reuse_scores
        self._scorer = TableScorer(self.metrics, token_budget, autocast, reuse_scores)
        self._stateful, self._progress = LearnedMetrics(self.metrics), StageProgress()
        self._trainer: Trainer | None = None
        self._restored: Mapping[str, Any] | None = None

    @property
    def table(self) -> DifficultyTable:
        """The difficulty table of the run; empty before ``setup``."""
        return self._scorer.table

    @property
    def stage(self) -> int:
        """The stage whose plan is in force; -1 before the first is planned."""
        return self._progress.stage

    # -- hooks -------------------------------------------------------------------------------------------------

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self._progress.restored = False
        check_trainer(trainer)
        if self._scorer.engine.metrics:
            check_module(pl_module)
        self._stateful.check(pl_module)
        data = curriculum_data(trainer)
        assert trainer.max_epochs is not None
        self._trainer = trainer
        self.policy.setup(data.train_store, trainer.max_epochs)
        self._scorer.setup(data.train_store, digest(self._identity(trainer)))
        data.sampler.expect_plan()
        if hasattr(pl_module, "horizon_steps"):
            sizes = self.policy.stage_sizes(len(data.train_store), trainer.max_epochs)
            pl_module.horizon_steps = horizon_steps(  # type: ignore[assignment]
                sizes, data.sampler.batch_size, trainer.accumulate_grad_batches, trainer.max_steps
            )

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.ckpt_path is not None and trainer.strategy.restore_checkpoint_after_setup:
            return  # sharded strategies restore later; load_state_dict continues from there
        if self._restored is None:
            self._scorer.score_texts(curriculum_data(trainer).train_store)
            self._refresh(trainer, pl_module, stage=0)
        else:
            self._continue(trainer, pl_module, self._restored)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._progress.restored = True

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._progress.begin_batch()
        seed_step(self.seed, self.stage, batch_idx, trainer.global_rank)

    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self._progress.stepping = True

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.training_loss_metric is not None:
            self._free.add(outputs)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert trainer.max_epochs is not None
        if trainer.current_epoch + 1 < trainer.max_epochs:
            self._refresh_or_end(trainer, pl_module, trainer.current_epoch + 1)

    # -- the refresh -------------------------------------------------------------------------------------------

    def _refresh_or_end(self, trainer: Trainer, pl_module: LightningModule, stage: int) -> None:
        if self.policy.finished(stage):
            trainer.should_stop = True
        else:
            self._refresh(trainer, pl_module, stage)

    def _refresh(self, trainer: Trainer, pl_module: LightningModule, stage: int) -> None:
        """Score what the policy asks for, step it, and put the new plan in force."""
        data = curriculum_data(trainer)
        prepare_stage(trainer, pl_module, self.policy, self.table, stage)
        if self.training_loss_metric is not None:
            self._free.enter(self.table, self.training_loss_metric, stage - 1)
        asked = self.policy.candidates(self.table, stage)
        candidates = self._stateful.extra_candidates(asked, len(data.train_store), stage, self.seed)
        scores = self._scorer.score_model(trainer, pl_module, data.train_store, candidates, stage)
        show = partial(scoring_bar, trainer, stage)
        learning = self._stateful.refresh(pl_module, data.train_store, self.table, stage, self.seed, show)
        started = time.perf_counter()
        plan = self.policy.step(self.table, stage, make_generator(self.seed, stage, "policy"))
        previous = data.sampler.plan
        data.sampler.set_plan(plan, stage)
        self._progress.begin_plan(stage)
        self._stateful.keep()
        report = StageReport(
            stage=stage, plan=plan, previous=previous, policy=self.policy, table=self.table, candidates=candidates,
            metrics=self.metrics, formulas=self._scorer.formulas, scored_tokens=scores.tokens if scores else 0,
            scoring_seconds=scores.seconds if scores else 0.0, learning=learning,
            selecting_seconds=time.perf_counter() - started,
        )  # fmt: skip
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, CurriculumObserver):
                callback.on_stage_planned(trainer, report)

    # -- state -------------------------------------------------------------------------------------------------

    @override
    def state_dict(self) -> dict[str, Any]:
        if self._trainer is None or self.stage < 0:
            return {}
        data = curriculum_data(self._trainer)
        return {
            "version": _VERSION,
            "stage": self.stage,
            "start": self._progress.rows_done(self._trainer),
            "identity": self._identity(self._trainer),
            "sampler": data.sampler.state_dict(),
            "table": self.table.state_dict(),
            "policy": self.policy.state_dict(),
            "free": self._free.state_dict(),
            "stateful": self._stateful.state_dict(),
        }

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict
        trainer = self._trainer
        if trainer is not None and trainer.strategy.restore_checkpoint_after_setup:
            self._continue(trainer, trainer.lightning_module, state_dict)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._progress.save(trainer, checkpoint)

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        check_continuable(checkpoint)

    def continuable(self, trainer: Trainer) -> bool:
        """Whether a checkpoint of this moment can be continued exactly."""
        return self._progress.continuable(trainer)

    def _identity(self, trainer: Trainer) -> dict[str, Any]:
        """What decides on the order of a run and so has to be the same when it is continued."""
        own = {"seed": self.seed, "metrics": self._scorer.formulas, "training_loss_metric": self.training_loss_metric}
        return {**{f"curriculum.{name}": v for name, v in own.items()}, **run_identity(trainer, self.policy)}

    def _continue(self, trainer: Trainer, pl_module: LightningModule, state: Mapping[str, Any]) -> None:
        """Put a checkpoint's plan, table and policy back in force; make up for a refresh that was not reached."""
        if state["version"] != _VERSION:
            raise ValueError(f"curriculum state of version {state['version']} cannot be read; expected {_VERSION}.")
        restore_data(trainer, self.policy, self.table)
        check_identity(state["identity"], self._identity(trainer))
        # Lightning cannot see that the sampler starts where the checkpoint stopped.
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable")
        sampler = curriculum_data(trainer).sampler
        self.table.load_state_dict(state["table"])
        self.policy.load_state_dict(state["policy"])
        self._free.load_state_dict(state["free"])
        self._stateful.load_state_dict(state.get("stateful", {}))
        sampler.load_state_dict(state["sampler"], state["start"])
        self._progress.begin_plan(state["stage"], state["start"])
        self._restored = None
        assert trainer.max_epochs is not None
        if state["start"] == plan_size(trainer) and self.stage + 1 < trainer.max_epochs:
            self._refresh_or_end(trainer, pl_module, self.stage + 1)
