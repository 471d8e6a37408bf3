"""The curriculum of a Lightning run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.difficulty.engine import Autocast, TokenBudget
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.loop.checks import check_module, check_trainer, curriculum_data
from lit_curriculum.loop.hooks import notify_observers, prepare_stage, restore_data
from lit_curriculum.loop.planner import StagePlanner
from lit_curriculum.loop.resume import StageProgress, check_resumable, run_name, seed_step
from lit_curriculum.loop.scoring import ModelScorer, scoring_bar, update_metric


class CurriculumCallback(Callback):
    """Trains a curriculum: one Lightning epoch is one stage.

    Stage 0 is planned in ``on_fit_start``, before the first training loader exists, and stage s + 1 at the end of
    epoch s, before the checkpoint callbacks run. So an epoch-end checkpoint holds the plan of the next stage.

    Args:
        policy: Decides what a stage trains on.
        metrics: Difficulty metrics by the names that the policy reads.
        seed: Seed of all random draws of policy and metrics; 0 by default, ``seed_everything`` on the command line.
        token_budget: Padded tokens in one scoring batch, ``auto`` or ``device``; bounds memory, not scores.
        autocast: ``bfloat16`` computes the matrix products of scoring in bfloat16: faster, with other scores.
        training_loss_metric: Name of a mean-loss metric that takes the losses of training, as of the stage trained.
        reuse_scores: Share the losses before training with other runs through the user's cache folder.
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
        self.policy, self.metrics, self.seed = policy, dict(metrics or {}), seed or 0
        self.training_loss_metric, self.reuse_scores = training_loss_metric, reuse_scores
        self.planner = StagePlanner(policy, self.metrics, self.seed, training_loss_metric, autocast)
        self._scorer = ModelScorer(self.metrics, token_budget, autocast, reuse_scores)
        self.progress = StageProgress(self.planner)
        self._trainer: Trainer | None = None
        self._restored: Mapping[str, Any] | None = None

    @property
    def table(self) -> DifficultyTable:
        """The difficulty table of the run; empty before ``setup``."""
        return self.planner.table

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        check_trainer(trainer)
        check_module(pl_module, self.metrics)
        data = curriculum_data(trainer)
        assert trainer.max_epochs is not None
        self._trainer, self.progress = trainer, StageProgress(self.planner)
        self.planner.setup(data.train_store, trainer.max_epochs, data.sampler)
        self._scorer.run = run_name(trainer, self.planner)
        if hasattr(pl_module, "horizon_steps"):
            num_steps = self.planner.num_steps(trainer.accumulate_grad_batches, trainer.max_steps)
            pl_module.horizon_steps = num_steps  # type: ignore[assignment]

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.ckpt_path is not None and trainer.strategy.restore_checkpoint_after_setup:
            return  # sharded strategies restore later; load_state_dict resumes then
        if self._restored is None:
            self.planner.score_texts()
            self._plan(trainer, pl_module, stage=0)
        else:
            self._resume(trainer, pl_module, self._restored)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.progress.restored = True

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.progress.begin_batch()
        seed_step(self.seed, self.planner.stage, batch_idx, trainer.global_rank)

    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self.progress.stepping = True

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.training_loss_metric is not None:
            self.planner.training_losses.add(outputs)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._plan(trainer, pl_module, trainer.current_epoch + 1)

    def _plan(self, trainer: Trainer, module: LightningModule, stage: int) -> None:
        """Plan ``stage``, if the run has one more; end the run where the policy has finished."""
        if stage >= self.planner.num_stages:
            return
        if self.planner.finished(stage):
            trainer.should_stop = True
            return
        prepare_stage(trainer, module, self.policy, self.table, stage)
        store = curriculum_data(trainer).train_store
        score = partial(self._scorer.score, trainer, module, store)
        update = partial(update_metric, module, store, self.table, partial(scoring_bar, trainer, stage))
        notify_observers(trainer, self.planner.plan(stage, score, update))

    @override
    def state_dict(self) -> dict[str, Any]:
        if self._trainer is None or self.planner.stage < 0:
            return {}
        return {**self.planner.state_dict(), **self.progress.state_dict(self._trainer)}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict
        if self._trainer is not None and self._trainer.strategy.restore_checkpoint_after_setup:
            self._resume(self._trainer, self._trainer.lightning_module, state_dict)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.progress.save(trainer, checkpoint)

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        check_resumable(checkpoint)

    def _resume(self, trainer: Trainer, module: LightningModule, state: Mapping[str, Any]) -> None:
        """Restore the curriculum of a checkpoint, and plan the next stage where the run had not reached that."""
        restore_data(trainer, self.policy, self.table)
        self._restored = None
        if self.progress.resume(trainer, state):
            self._plan(trainer, module, self.planner.stage + 1)


def find_curriculum(trainer: Trainer) -> CurriculumCallback | None:
    """The trainer's curriculum, if it has one."""
    callbacks: list[object] = trainer.callbacks  # type: ignore[attr-defined]
    return next((c for c in callbacks if isinstance(c, CurriculumCallback)), None)
