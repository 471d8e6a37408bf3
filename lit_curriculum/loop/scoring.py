"""Fills the difficulty table: metrics of the text once, those of the model whenever a policy asks."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer

from lit_curriculum.difficulty.base import DifficultyMetric, ModelMetric, TextMetric
from lit_curriculum.difficulty.engine import Autocast, Scores, ScoringEngine, TokenBudget
from lit_curriculum.difficulty.fingerprint import model_fingerprint
from lit_curriculum.difficulty.learned import LearnedMetric, UpdateContext, UpdateCost
from lit_curriculum.difficulty.shared_cache import shared_cache
from lit_curriculum.difficulty.summary_cache import SummaryCache
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.loop.progress_bar import scoring_bar
from lit_curriculum.types import ExampleStore, FloatArray, IntArray, make_generator
from lit_curriculum.utils.distributed import broadcast_object
from lit_curriculum.utils.eval_mode import evaluation_mode
from lit_curriculum.utils.progress import Show, no_display


class LearnedMetrics:
    """The stateful metrics of a run, as of the refresh that is being made and as of the last one that ended.

    Only the latter is saved. A refresh that is killed is made again from the state that it began with, and every
    update depends on that, the weights, the table, the seed and the stage alone.

    Args:
        metrics: All metrics by name; those that are not stateful are left out.

    Raises:
        ValueError: one reads a metric that there is not.
    """

    def __init__(self, metrics: Mapping[str, DifficultyMetric]) -> None:
        self.metrics = {name: m for name, m in metrics.items() if isinstance(m, LearnedMetric)}
        self._kept = {name: metric.state_dict() for name, metric in self.metrics.items()}
        for name, metric in self.metrics.items():
            for column in metric.required_metrics:
                if column not in metrics:
                    raise ValueError(
                        f"curriculum.metrics.{name} reads the metric {column!r}, but curriculum.metrics has "
                        f"{sorted(metrics)}; add it there under that name."
                    )

    def check(self, module: LightningModule) -> None:
        """Refuse a model that cannot do what a metric asks for.

        Raises:
            MisconfigurationException: a method is missing.
        """
        for name, metric in self.metrics.items():
            for method in metric.model_methods:
                if not callable(getattr(module, method, None)):
                    raise MisconfigurationException(
                        f"curriculum.metrics.{name} needs the model's method {method}, which {type(module).__name__} "
                        "does not have; use CausalLMModule, give yours one (see lit_curriculum.types), or set other "
                        "features or another objective."
                    )

    def extra_candidates(self, asked: IntArray, num_examples: int, stage: int, seed: int) -> IntArray:
        """The indices that the policy ``asked`` for [K], and after them those that updates want beside them."""
        for name, metric in self.metrics.items():
            more = metric.extra_candidates(asked, num_examples, stage, make_generator(seed, stage, f"{name} wanted"))
            asked = np.concatenate([asked, np.setdiff1d(more, asked)])
        return asked

    def refresh(
        self, module: LightningModule, store: ExampleStore, table: DifficultyTable, stage: int, seed: int,
        show: Show = no_display,
    ) -> UpdateCost:  # fmt: skip
        """Update what is due before ``stage`` and score all examples with it; every rank gets rank 0's result.

        Args:
            module: The model in training.
            store: The N examples.
            table: Takes the scores.
            stage: The stage that comes next.
            seed: Of the run.
            show: Makes the display of the progress.
        """
        everything = np.arange(len(store))
        total = UpdateCost()
        for name, metric in self.metrics.items():
            if not metric.is_due(stage):
                continue
            metric.load_state_dict(self._kept[name])
            with evaluation_mode(module), show(f"Updating {name}", "") as progress:
                context = UpdateContext(
                    model=module,  # type: ignore[arg-type]
                    device=module.device,
                    store=store,
                    table=table,
                    stage=stage,
                    generator=make_generator(seed, stage, name),
                    progress=progress,
                )
                cost = metric.update(context)
                metric.load_state_dict(broadcast_object(metric.state_dict(), module.device))
                timed = metric.timed_score(context, everything)
            values = broadcast_object(timed.values, module.device)
            scorable = ~np.isnan(values)
            table.update(name, everything[scorable], values[scorable], stage)
            table.mark_unscorable(name, everything[~scorable], stage)
            own = {
                "seconds": cost.seconds + timed.seconds,
                "generated_tokens": float(cost.generated_tokens),
                "forward_tokens": float(cost.forward_tokens + timed.forward_tokens),
            }
            scalars = {f"{name}/{key}": value for key, value in {**cost.scalars, **own}.items()}
            total = UpdateCost(
                seconds=total.seconds + cost.seconds + timed.seconds,
                generated_tokens=total.generated_tokens + cost.generated_tokens,
                forward_tokens=total.forward_tokens + cost.forward_tokens + timed.forward_tokens,
                scalars={**total.scalars, **scalars},
            )
        return total

    def keep(self) -> None:
        """Note that the refresh has ended: this is the state that a checkpoint holds from now on."""
        self._kept = {name: metric.state_dict() for name, metric in self.metrics.items()}

    def state_dict(self) -> dict[str, Any]:
        """States of the last refresh that ended."""
        return dict(self._kept)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        for name, metric in self.metrics.items():
            metric.load_state_dict(state[name])
        self.keep()


def score_alone(name: str, metric: LearnedMetric, module: LightningModule, store: ExampleStore) -> FloatArray:
    """Scores [N] of a metric that stands alone, under the weights of ``module``; every rank gets rank 0's.

    Raises:
        MisconfigurationException: the model cannot do what the metric asks for.
        ValueError: what the metric refuses.
    """
    assert metric.stands_alone, "it would learn from a run that there is not"
    LearnedMetrics({name: metric}).check(module)
    context = UpdateContext(
        model=module,  # type: ignore[arg-type]
        device=module.device,
        store=store,
        table=DifficultyTable(len(store), []),
        stage=0,
        generator=make_generator(0, 0, "score"),
    )
    with evaluation_mode(module):
        metric.update(context)
        found = metric.score(context, np.arange(len(store)))
    return broadcast_object(found, module.device)


class TableScorer:
    """The difficulty table of a run and what its scores come from.

    Args:
        metrics: All metrics by name.
        token_budget: Padded tokens in one scoring batch, ``auto`` or ``device``.
        autocast: Type of the matrix products of scoring.
        reuse_scores: Keep what the model says before training for other runs, and use what those have kept.
    """

    def __init__(
        self,
        metrics: Mapping[str, DifficultyMetric],
        token_budget: TokenBudget,
        autocast: Autocast,
        reuse_scores: bool = False,
    ) -> None:
        self.metrics, self.reuse_scores = dict(metrics), reuse_scores
        of_model = {name: metric for name, metric in metrics.items() if isinstance(metric, ModelMetric)}
        self.engine = ScoringEngine(of_model, token_budget, autocast=autocast)
        self.table = DifficultyTable(0, [])
        self._run = ""

    @property
    def formulas(self) -> dict[str, str]:
        """Formula id of every metric, with the arithmetic of scoring where it is not that of the weights."""
        return {name: self.engine.formulas.get(name, metric.formula) for name, metric in self.metrics.items()}

    def setup(self, store: ExampleStore, run: str) -> None:
        """An empty table for the examples of ``store``.

        Args:
            store: The data.
            run: Name of what identifies the run, under which the work of an unfinished refresh is kept.
        """
        self._run = run
        directions = {name: metric.higher_is_harder for name, metric in self.metrics.items()}
        self.table = DifficultyTable(len(store), list(self.metrics), directions)

    def score_texts(self, store: ExampleStore) -> None:
        """Enter the metrics of the text alone, for all examples."""
        everything = np.arange(len(store))
        for name, metric in self.metrics.items():
            if isinstance(metric, TextMetric):
                self._enter(name, everything, metric.score(store), stage=0)

    def score_model(
        self, trainer: Trainer, module: LightningModule, store: ExampleStore, indices: IntArray, stage: int
    ) -> Scores | None:
        """Enter the model's scores of ``indices`` [K], no trace left on the model; none where nothing is to do.

        What has been computed is kept on disk until the next refresh. Killed in the middle, a run that is resumed
        comes to the same weights again and so finds it: a refresh is continued, not repeated.
        """
        if not self.engine.metrics or not len(indices):
            return None
        self.engine.device = module.device
        cache = self._cache(trainer, module, store, indices, stage)
        try:
            with evaluation_mode(module), scoring_bar(trainer, stage) as progress:
                scores = self.engine.score(module, store, indices, progress, cache)  # type: ignore[arg-type]
        finally:
            if cache is not None:
                cache.close()
        for name, values in scores.values.items():
            self._enter(name, indices, values, stage)
        return scores

    def _enter(self, name: str, indices: IntArray, values: FloatArray, stage: int) -> None:
        scorable = ~np.isnan(values)
        self.table.update(name, indices[scorable], values[scorable], stage)
        self.table.mark_unscorable(name, indices[~scorable], stage)

    def _cache(
        self, trainer: Trainer, module: LightningModule, store: ExampleStore, indices: IntArray, stage: int
    ) -> SummaryCache | None:
        """Where this model's summaries are kept; none for a sharded model."""
        fingerprint = model_fingerprint(module)
        if fingerprint is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return None
        if stage == 0 and self.reuse_scores:
            return shared_cache(self.engine, fingerprint, store, indices, trainer.global_rank)
        root = Path(trainer.default_root_dir) / "refresh" / self._run
        cache = SummaryCache.shared(root, fingerprint, self.engine.autocast, trainer.global_rank)
        if trainer.is_global_zero and root.exists():
            for folder in root.iterdir():
                if folder != cache.folder:
                    shutil.rmtree(folder, ignore_errors=True)  # a refresh that has ended
        trainer.strategy.barrier("refresh")
        return cache
