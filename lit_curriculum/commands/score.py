"""``lit-curriculum score``: score all examples with the metrics of a curriculum, into a file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.utilities import rank_zero_info
from matplotlib import pyplot as plt
from torch.utils.data import DataLoader, IterableDataset
from typing_extensions import override

from lit_curriculum import __version__
from lit_curriculum.commands.run import CurriculumCLI, curriculum_of
from lit_curriculum.difficulty.base import DifficultyMetric, ModelMetric, TextMetric
from lit_curriculum.difficulty.engine import Autocast, ScoringEngine, TokenBudget, formula_ids
from lit_curriculum.difficulty.fingerprint import model_fingerprint
from lit_curriculum.difficulty.learned import LearnedMetric, refuse_learned
from lit_curriculum.difficulty.score_store import ScoreKey, write_scores
from lit_curriculum.difficulty.summary_cache import SummaryCache
from lit_curriculum.loop.checks import check_module, curriculum_data
from lit_curriculum.loop.scoring import score_without_run, scoring_bar
from lit_curriculum.report.figures import save, score_histogram
from lit_curriculum.types import ExampleStore, FloatArray, Subset
from lit_curriculum.utils.command_parser import CommandParser, parse_shard
from lit_curriculum.utils.eval_mode import evaluation_mode
from lit_curriculum.utils.files import write_atomic


def shard(store: ExampleStore, number: int, of: int) -> Subset:
    """Part ``number`` of ``of``, counted from 1; equal examples are in the same part, whatever the order of the data.

    Raises:
        ValueError: no example falls into this part.
    """
    assert 1 <= number <= of
    starts = np.ascontiguousarray(store.content_hashes).view("S1").reshape(len(store), -1)[:, :8].copy().view("S8")
    part = np.array([int(start, 16) % of for start in starts[:, 0]], dtype=np.int64)
    found = np.flatnonzero(part == number - 1)
    if not len(found):
        raise ValueError(f"--shard {number}/{of}: none of the {len(store)} examples falls into it; use fewer shards.")
    return Subset(store, found)


def score_command(args: Sequence[str]) -> None:
    """``lit-curriculum score``: score the training data with ``curriculum.metrics``; rerun it to resume.

    Writes to ``--out``: ``scores.parquet``, ``scores.png``, ``score.json`` (what it cost) and ``journal/`` (the
    model's answers, so that the same model is not asked twice). The answers are kept in the common cache too, where
    a run with ``curriculum.reuse_scores`` finds them; with that option, what runs have left there is not asked again.
    Works on as many processes as ``trainer`` says.

    Raises:
        ValueError: no metric is configured, ``--shard`` names no part, or ``--out`` holds the journal of another model.
    """
    parser = CommandParser("score", "Score the training data with the metrics of the curriculum.", takes_run=True)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--checkpoint", default=None, help="score with the weights of this checkpoint of a run")
    parser.add_argument("--token_budget", default="device", help="padded tokens in a batch, auto or device")
    parser.add_argument("--autocast", choices=get_args(Autocast), default="none", help="type of the matrix products")
    parser.add_argument("--shard", default="1/1", help="I/N: only the I-th of N parts; lit-curriculum merge joins them")
    own, rest = parser.parse_with_run(args)
    number, of = parse_shard(own.shard)
    part = (number, of) if of > 1 else None
    cli = CurriculumCLI(rest, run=False)
    curriculum = curriculum_of(cli.trainer)
    metrics = curriculum.metrics
    if not metrics:
        raise ValueError(
            "curriculum.metrics is empty, so there is nothing to score; add the yaml of a curriculum with --config."
        )
    refuse_learned(metrics, "score")
    budget: TokenBudget = int(own.token_budget) if own.token_budget.isdecimal() else own.token_budget
    engine = ScoringEngine(
        {n: m for n, m in metrics.items() if isinstance(m, ModelMetric)}, budget, autocast=own.autocast
    )
    trainer = cli.trainer
    bars = [c for c in trainer.callbacks if isinstance(c, ProgressBar)]  # type: ignore[attr-defined]
    trainer.callbacks = [*bars, ScoreAll(metrics, engine, own.out, part, curriculum.reuse_scores)]  # type: ignore[attr-defined]
    trainer.loggers = []
    # Lightning's own way to start processes, place the model and restore a checkpoint; no batch is ever drawn.
    cli.datamodule.predict_dataloader = _no_batches
    trainer.predict(cli.model, datamodule=cli.datamodule, return_predictions=False, ckpt_path=own.checkpoint)


class ScoreAll(Callback):
    """Scores all training examples when prediction starts, and writes the files.

    Args:
        metrics: All metrics by name.
        engine: For those of the model.
        out: Folder to write to.
        part: (number, of how many) of the parts of the data, from 1 on; none for all of it.
        reuse_scores: Use what runs have left in the common cache.
    """

    def __init__(
        self, metrics: Mapping[str, DifficultyMetric], engine: ScoringEngine, out: Path,
        part: tuple[int, int] | None = None, reuse_scores: bool = False,
    ) -> None:  # fmt: skip
        self.metrics, self.engine, self.out, self.part = dict(metrics), engine, out, part
        self.reuse_scores = reuse_scores

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        store = curriculum_data(trainer).train_store
        part = None if self.part is None else shard(store, *self.part)
        examples: ExampleStore = store if part is None else part
        values: dict[str, FloatArray] = {}
        reasons: dict[str, dict[int, str]] = {}
        cost: dict[str, Any] = {"examples": len(examples), "processes": trainer.world_size}
        fingerprint: str | None = None
        check_module(pl_module, self.metrics)
        if not all(isinstance(metric, TextMetric) for metric in self.metrics.values()):
            fingerprint = model_fingerprint(pl_module)
        if self.engine.metrics:
            self._score_model(trainer, pl_module, examples, fingerprint, values, reasons, cost)
        for name, metric in self.metrics.items():
            if isinstance(metric, TextMetric | LearnedMetric):
                # Of all examples, since a metric may look at them together.
                if isinstance(metric, TextMetric):
                    found = metric.score(store)
                else:
                    found = score_without_run(name, metric, pl_module, store)
                values[name] = found if part is None else found[part.indices]
                missing = np.flatnonzero(np.isnan(values[name]))
                reasons[name] = {int(i): f"{metric.formula} has no value" for i in missing}
        if trainer.is_global_zero:
            ordered = {name: values[name] for name in self.metrics}
            self._write(score_key(pl_module, examples, fingerprint, self.formulas, self.engine.autocast), examples,
                        ordered, reasons, cost)  # fmt: skip
        trainer.strategy.barrier("scores written")

    @property
    def formulas(self) -> dict[str, str]:
        """Formula id of every metric, with the arithmetic of the engine."""
        return formula_ids(self.metrics, self.engine.autocast)

    def _score_model(
        self, trainer: Trainer, module: LightningModule, examples: ExampleStore, fingerprint: str | None,
        values: dict[str, FloatArray], reasons: dict[str, dict[int, str]], cost: dict[str, Any],
    ) -> None:  # fmt: skip
        cache, rank, everything = None, trainer.global_rank, np.arange(len(examples))
        self.engine.device = module.device
        if fingerprint is None:
            rank_zero_info("the model is sharded, so its answers are not kept: a run that is killed starts over.")
        else:
            common = self.engine.shared_cache(fingerprint, examples, everything, rank)
            cache = SummaryCache(
                self.out / "journal", fingerprint, self.engine.autocast, rank,
                beside=common, read_beside=self.reuse_scores,
            )  # fmt: skip
        with evaluation_mode(module), scoring_bar(trainer) as progress:
            scores = self.engine.score(module, examples, everything, progress, cache)  # type: ignore[arg-type]
        if cache is not None:
            cache.close()
        values.update(scores.values)
        reasons.update(scores.reasons)
        cost |= {
            "seconds": round(scores.seconds, 3),
            "tokens": scores.tokens,
            "padded_tokens": scores.padded_tokens,
            "reused_tokens": scores.reused_tokens,
            "tokens_per_second": round(scores.tokens / scores.seconds, 1),
            "token_budget": self.engine.token_budget,
            "device": str(module.device),
        }

    def _write(
        self, key: ScoreKey, examples: ExampleStore, values: Mapping[str, FloatArray],
        reasons: Mapping[str, Mapping[int, str]], cost: dict[str, Any],
    ) -> None:  # fmt: skip
        self.out.mkdir(parents=True, exist_ok=True)
        write_scores(self.out / "scores.parquet", key, examples, values, reasons)
        figure, axes = plt.subplots(len(values), 1, figsize=(7, 3 * len(values)), squeeze=False, layout="constrained")
        for axis, (name, found) in zip(axes[:, 0], values.items(), strict=True):
            score_histogram(axis, found.tolist(), name, self.metrics[name].unit)
        save(figure, self.out / "scores.png")
        summary = cost | {"metrics": {n: _summary(v) for n, v in values.items()}, "key": asdict(key)}
        write_atomic(self.out / "score.json", json.dumps(summary, indent=2) + "\n")
        ran = f"{cost['tokens']} tokens in {cost['seconds']} s" if "tokens" in cost else "no model asked"
        reused = f", {cost['reused_tokens']} tokens known before" if cost.get("reused_tokens") else ""
        print(f"scored {len(examples)} examples by {', '.join(values)} ({ran}{reused}): {self.out / 'scores.parquet'}")


def score_key(
    module: LightningModule | None, examples: ExampleStore, fingerprint: str | None,
    formulas: Mapping[str, str], autocast: str,
) -> ScoreKey:  # fmt: skip
    """The key of scores of ``examples`` under ``module``."""
    weights = None if module is None else next(iter(module.parameters()), None)
    return ScoreKey(
        data=hashlib.blake2b(examples.content_hashes.tobytes(), digest_size=16).hexdigest(),
        model=fingerprint,
        source=str(getattr(module, "source", None) or type(module).__name__),
        encoding=dict(getattr(examples, "identity", {})),
        dtype="none" if weights is None else str(weights.dtype).removeprefix("torch."),
        autocast=autocast,
        formulas=dict(formulas),
        version=__version__,
    )


class _Nothing(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


def _no_batches() -> DataLoader[Any]:
    return DataLoader(_Nothing())


def _summary(values: FloatArray) -> dict[str, float | int | None]:
    known = values[np.isfinite(values)]
    points = np.quantile(known, [0.0, 0.25, 0.5, 0.75, 1.0]) if len(known) else np.full(5, math.nan)
    names = ("min", "lower_quartile", "median", "upper_quartile", "max")
    found: dict[str, float | int | None] = {"scored": len(known), "unscorable": len(values) - len(known)}
    return found | {n: float(p) if np.isfinite(p) else None for n, p in zip(names, points, strict=True)}
