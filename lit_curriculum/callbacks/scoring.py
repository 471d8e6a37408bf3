"""Fills the difficulty table: metrics of the text once, those of the model whenever a policy asks."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from lightning.pytorch import LightningModule, Trainer

from lit_curriculum.callbacks.progress import scoring_bar
from lit_curriculum.difficulty.base import DifficultyMetric, ModelMetric, TextMetric
from lit_curriculum.difficulty.engine import Autocast, Scores, ScoringEngine, TokenBudget
from lit_curriculum.difficulty.fingerprint import model_fingerprint
from lit_curriculum.difficulty.summary_cache import SummaryCache
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.evaluation.common_cache import common_cache
from lit_curriculum.quiet import quiet
from lit_curriculum.types import ExampleStore, FloatArray, IntArray


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
            with quiet(module), scoring_bar(trainer, stage) as progress:
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
            return common_cache(self.engine, fingerprint, store, indices, trainer.global_rank)
        root = Path(trainer.default_root_dir) / "refresh" / self._run
        cache = SummaryCache.shared(root, fingerprint, self.engine.autocast, trainer.global_rank)
        if trainer.is_global_zero and root.exists():
            for folder in root.iterdir():
                if folder != cache.folder:
                    shutil.rmtree(folder, ignore_errors=True)  # a refresh that has ended
        trainer.strategy.barrier("refresh")
        return cache
