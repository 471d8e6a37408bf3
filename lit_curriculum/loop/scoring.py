"""Scores examples with the model in training, for the planner."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from lightning.pytorch import LightningModule, Trainer

from lit_curriculum.difficulty.base import DifficultyMetric, ModelMetric
from lit_curriculum.difficulty.engine import Autocast, Scores, ScoringEngine, TokenBudget
from lit_curriculum.difficulty.fingerprint import model_fingerprint
from lit_curriculum.difficulty.learned import LearnedMetric, UpdateContext, UpdateCost
from lit_curriculum.difficulty.summary_cache import SummaryCache
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import ExampleStore, FloatArray, IntArray, make_generator
from lit_curriculum.utils.distributed import broadcast_object
from lit_curriculum.utils.eval_mode import evaluation_mode
from lit_curriculum.utils.progress import Advance, Show, display, no_display


@contextmanager
def scoring_bar(
    trainer: Trainer, stage: int | None = None, title: str = "Scoring", unit: str = " tok"
) -> Iterator[Advance | None]:
    """Show progress in tokens, or in ``unit``, on rank zero where the trainer shows its own bar."""
    if trainer.progress_bar_callback is None or not trainer.is_global_zero:
        yield None
        return
    with display(title if stage is None else f"{title} for stage {stage}", unit) as advance:
        yield advance


class ModelScorer:
    """Computes the model metrics of a run, and keeps unfinished work on disk.

    Args:
        metrics: All metrics by name; those that do not read the model's losses are ignored.
        token_budget: Padded tokens in one scoring batch, ``auto`` or ``device``.
        autocast: Precision of the matrix products of scoring.
        reuse_scores: Share the losses before training with other runs through the user's cache folder.
    """

    def __init__(
        self,
        metrics: Mapping[str, DifficultyMetric],
        token_budget: TokenBudget,
        autocast: Autocast,
        reuse_scores: bool = False,
    ) -> None:
        of_model = {name: metric for name, metric in metrics.items() if isinstance(metric, ModelMetric)}
        self.engine = ScoringEngine(of_model, token_budget, autocast=autocast)
        self.reuse_scores = reuse_scores
        self.run = "run"
        """Folder name that identifies the run, for the work of an unfinished refresh."""

    def score(
        self, trainer: Trainer, module: LightningModule, store: ExampleStore, indices: IntArray, stage: int
    ) -> Scores:
        """Score the examples ``indices`` [K]; leaves mode, gradients and random state of the model as they were.

        Finished batches are kept on disk until the next refresh. So a run that is killed while it scores, and resumed
        to the same weights, does not repeat them.
        """
        if not self.engine.metrics:
            return Scores(values={})
        self.engine.device = module.device
        cache = self._cache(trainer, module, store, indices, stage)
        try:
            with evaluation_mode(module), scoring_bar(trainer, stage) as progress:
                return self.engine.score(module, store, indices, progress, cache)  # type: ignore[arg-type]
        finally:
            if cache is not None:
                cache.close()

    def _cache(
        self, trainer: Trainer, module: LightningModule, store: ExampleStore, indices: IntArray, stage: int
    ) -> SummaryCache | None:
        """The cache for the weights as they are; none for a sharded model."""
        fingerprint = model_fingerprint(module)
        if fingerprint is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return None
        if stage == 0 and self.reuse_scores:
            return self.engine.shared_cache(fingerprint, store, indices, trainer.global_rank)
        root = Path(trainer.default_root_dir) / "refresh" / self.run
        cache = SummaryCache.shared(root, fingerprint, self.engine.autocast, trainer.global_rank)
        if trainer.is_global_zero and root.exists():
            for folder in root.iterdir():
                if folder != cache.folder:
                    shutil.rmtree(folder, ignore_errors=True)  # of a refresh that has ended
        trainer.strategy.barrier("refresh")
        return cache


def update_metric(
    module: LightningModule, store: ExampleStore, table: DifficultyTable, show: Show,
    name: str, metric: LearnedMetric, stage: int, generator: np.random.Generator,
) -> tuple[FloatArray, UpdateCost]:  # fmt: skip
    """Update a learned metric before a stage, then score all examples with it; every rank gets rank 0's result.

    Args:
        module: The model in training; its mode, gradients and random state stay as they were.
        store: The N examples.
        table: Scores that the update may read.
        show: Displays the progress.
        name: Name of the metric.
        metric: The metric.
        stage: The stage that comes next.
        generator: Source of all random draws.

    Returns:
        Scores [N], NaN where an example cannot be scored, and the cost of update and scores together.
    """
    with evaluation_mode(module), show(f"Updating {name}", "") as progress:
        context = UpdateContext(
            model=module,  # type: ignore[arg-type]
            device=module.device,
            store=store,
            table=table,
            stage=stage,
            generator=generator,
            progress=progress,
        )
        cost = metric.update(context)
        metric.load_state_dict(broadcast_object(metric.state_dict(), module.device))
        timed = metric.timed_score(context, np.arange(len(store)))
    total = replace(
        cost, seconds=cost.seconds + timed.seconds, forward_tokens=cost.forward_tokens + timed.forward_tokens
    )
    return broadcast_object(timed.values, module.device), total


def score_without_run(name: str, metric: LearnedMetric, module: LightningModule, store: ExampleStore) -> FloatArray:
    """Scores [N] of a learned metric that needs no run, under the weights of ``module``; the same on every rank.

    Raises:
        ValueError: the metric refuses model or data.
    """
    assert not metric.needs_run, "it would learn from a run that does not exist"
    table = DifficultyTable(len(store), [])
    return update_metric(module, store, table, no_display, name, metric, 0, make_generator(0, 0, "score"))[0]
