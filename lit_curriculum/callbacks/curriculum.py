"""The loop: at the end of every stage score, step the policy, and hand the next order to the sampler."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from lit_curriculum.callbacks.checks import check_module, check_trainer, curriculum_data
from lit_curriculum.callbacks.observer import CurriculumObserver, StageReport
from lit_curriculum.callbacks.progress import scoring_bar
from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.curriculum.horizon import horizon_steps
from lit_curriculum.data.sampler import CurriculumSampler
from lit_curriculum.difficulty.base import DifficultyMetric, ModelMetric, TextMetric
from lit_curriculum.difficulty.engine import ScoringEngine
from lit_curriculum.difficulty.quiet import quiet
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import ExampleStore, IntArray, make_generator

_VERSION = 1


class CurriculumCallback(Callback):
    """Drives a curriculum: one Lightning epoch is one stage.

    The order of stage 0 is made in ``on_fit_start``, before the first training loader exists; the order of stage
    s + 1 at the end of epoch s, before the checkpoint callbacks run, so that an epoch-end checkpoint holds the
    order that comes next. It is the only writer of the data module's sampler.

    Args:
        policy: Decides what a stage trains on.
        metrics: The difficulty metrics by the names that the policy reads.
        seed: Seed of everything that the policy draws.
        token_budget: Padded tokens in one scoring batch; bounds memory, not scores.
    """

    def __init__(
        self,
        policy: CurriculumPolicy,
        metrics: dict[str, DifficultyMetric] | None = None,
        seed: int = 0,
        token_budget: int = 8192,
    ) -> None:
        self.policy = policy
        self.metrics: dict[str, DifficultyMetric] = dict(metrics or {})
        self.seed = seed
        missing = sorted(set(policy.reads) - set(self.metrics))
        if missing:
            raise ValueError(
                f"curriculum.policy {type(policy).__name__} reads the metric {missing[0]!r}, but curriculum.metrics "
                f"has {sorted(self.metrics) or 'none'}; add it there under that name."
            )
        self._model_metrics = {n: m for n, m in self.metrics.items() if isinstance(m, ModelMetric)}
        self._engine = ScoringEngine(self._model_metrics, token_budget)
        self.stage = -1
        self.table: DifficultyTable | None = None
        self._trainer: Trainer | None = None
        self._restored: Mapping[str, Any] | None = None

    # -- hooks -------------------------------------------------------------------------------------------------

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        check_trainer(trainer)
        if self._model_metrics:
            check_module(pl_module)
        data = curriculum_data(trainer)
        assert trainer.max_epochs is not None
        self._trainer = trainer
        self.policy.setup(data.train_store, trainer.max_epochs)
        directions = {name: metric.higher_is_harder for name, metric in self.metrics.items()}
        self.table = DifficultyTable(len(data.train_store), list(self.metrics), directions)
        data.sampler.expect_plan()
        if hasattr(pl_module, "horizon_steps"):
            sizes = self.policy.stage_sizes(len(data.train_store), trainer.max_epochs)
            pl_module.horizon_steps = horizon_steps(  # type: ignore[assignment]
                sizes, data.sampler.batch_size, trainer.accumulate_grad_batches, trainer.max_steps
            )

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = curriculum_data(trainer)
        if self._restored is None:
            self._score_texts(data.train_store)
            self._refresh(trainer, pl_module, stage=0)
        else:
            self._continue(data.sampler, self._restored)
            self._restored = None

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert trainer.max_epochs is not None
        if trainer.current_epoch + 1 < trainer.max_epochs:
            self._refresh(trainer, pl_module, trainer.current_epoch + 1)

    # -- the refresh -------------------------------------------------------------------------------------------

    def _score_texts(self, store: ExampleStore) -> None:
        """Metrics of the text alone: once."""
        assert self.table is not None
        everything = np.arange(len(store))
        for name, metric in self.metrics.items():
            if isinstance(metric, TextMetric):
                self._enter(name, everything, metric.score(store), stage=0)

    def _enter(self, name: str, indices: IntArray, values: np.ndarray[Any, np.dtype[np.float64]], stage: int) -> None:
        assert self.table is not None
        scorable = ~np.isnan(values)
        self.table.update(name, indices[scorable], values[scorable], stage)
        self.table.mark_unscorable(name, indices[~scorable], stage)

    def _refresh(self, trainer: Trainer, pl_module: LightningModule, stage: int) -> None:
        """Score what the policy asks for, step it, and put the new plan in force."""
        assert self.table is not None
        data = curriculum_data(trainer)
        candidates = self.policy.candidates(self.table, stage)
        seconds, tokens = 0.0, 0
        if self._model_metrics and len(candidates):
            self._engine.device = pl_module.device
            with quiet(pl_module), scoring_bar(trainer, stage) as progress:
                scores = self._engine.score(pl_module, data.train_store, candidates, progress)  # type: ignore[arg-type]
            for name, values in scores.values.items():
                self._enter(name, candidates, values, stage)
            seconds, tokens = scores.seconds, scores.tokens
        started = time.perf_counter()
        plan = self.policy.step(self.table, stage, make_generator(self.seed, stage, "policy"))
        previous = data.sampler.plan
        data.sampler.set_plan(plan, stage)
        self.stage = stage
        report = StageReport(
            stage=stage, plan=plan, previous=previous, table=self.table, candidates=candidates, scoring_seconds=seconds,
            selecting_seconds=time.perf_counter() - started, scored_tokens=tokens,
        )  # fmt: skip
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, CurriculumObserver):
                callback.on_stage_planned(trainer, report)

    # -- state -------------------------------------------------------------------------------------------------

    @override
    def state_dict(self) -> dict[str, Any]:
        if self._trainer is None or self.table is None or self.stage < 0:
            return {}
        return {
            "version": _VERSION,
            "seed": self.seed,
            "stage": self.stage,
            "start": self._position(self._trainer),
            "sampler": curriculum_data(self._trainer).sampler.state_dict(),
            "table": self.table.state_dict(),
            "policy": self.policy.state_dict(),
        }

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict or None

    def _position(self, trainer: Trainer) -> int:
        """Entries of the current plan that have been trained on."""
        sampler = curriculum_data(trainer).sampler
        assert sampler.plan is not None
        # The end of an epoch plans the next stage while Lightning still counts the batches of the last one.
        if self.stage > trainer.current_epoch:
            return 0
        # ``processed``: a checkpoint of a step is written before ``completed`` is raised.
        batches: int = trainer.fit_loop.epoch_loop.batch_progress.current.processed  # type: ignore[attr-defined]
        return min(batches * sampler.batch_size, len(sampler.plan))

    def _continue(self, sampler: CurriculumSampler, state: Mapping[str, Any]) -> None:
        """Put a checkpoint's plan, table and policy back in force."""
        assert self.table is not None
        if state["version"] != _VERSION:
            raise ValueError(f"curriculum state of version {state['version']} cannot be read; expected {_VERSION}.")
        if state["seed"] != self.seed:
            raise ValueError(
                f"the checkpoint was made with curriculum.seed={state['seed']}, this run has {self.seed}; resume with "
                "the configuration that the run was started with."
            )
        self.table.load_state_dict(state["table"])
        self.policy.load_state_dict(state["policy"])
        sampler.load_state_dict(state["sampler"], state["start"])
        self.stage = state["stage"]
