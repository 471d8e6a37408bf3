"""Log what the curriculum decides: scalars, histograms, figures and examples to read."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Set
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from typing_extensions import override

from lit_curriculum.callbacks import loggers
from lit_curriculum.callbacks.loggers import Layout, Options
from lit_curriculum.callbacks.stage_history import StageHistory, example_rows, figures_of
from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.loop.callback import CurriculumCallback, find_curriculum
from lit_curriculum.loop.checks import curriculum_data
from lit_curriculum.loop.hooks import CurriculumObserver
from lit_curriculum.loop.planner import StageReport
from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.models.footprint import Footprint, footprint
from lit_curriculum.types import CONDITIONED
from lit_curriculum.utils.options import check_range, flat_options

_SIDES = (512, 1024, 2048, 4096)  # of the matrices whose product is timed
_LONG_ENOUGH = 0.001  # seconds that a product takes to be timed well
_REPEATS = 3
_FINAL_VALUES = ("train/loss", "val/loss", "val/accuracy")
_FIGURE_SHARE = 0.005  # of the run's time so far that figures may take, with those at its end
_FIRST_DRAWING = 0.5  # seconds, as long as no figures have been drawn

LAYOUT: Layout = {
    "Learning": {
        "loss": ("Multiline", ["train/loss", "val/loss"]),
        "accuracy by ability": ("Multiline", ["val/accuracy.*"]),
        "loss by ability": ("Multiline", ["val/nll.*"]),
    },
    "What is chosen": {
        "examples": ("Multiline", ["curriculum/(selected|candidates|eligible)"]),
        "turnover": ("Multiline", ["curriculum/overlap", "turnover/.*"]),
        "schedules": ("Multiline", ["curriculum/clock/.*"]),
        "perplexity of the bands": ("Multiline", ["curriculum/perplexity/.*"]),
        "mixture": ("Multiline", ["curriculum/p_mix/.*"]),
    },
    "What it costs": {
        "seconds": ("Multiline", ["cost/.*_seconds"]),
        "share of refreshes": ("Multiline", ["cost/refresh_share"]),
        "share of the machine's limit": ("Multiline", ["machine/.*_share_of_limit"]),
    },
}
"""Category -> chart -> kind and tags, which are regular expressions."""


class CurriculumMonitor(Callback, CurriculumObserver):
    """Logs every decision of the curriculum, at the training step of the decision.

    Scalars go to every logger:

    - ``curriculum/``: ``stage``, ``selected`` (entries of the plan), ``overlap`` (share of the distinct examples that
      the stage before had too), ``candidates``, ``scored_tokens``, ``refresh_seconds`` and its parts, and the scalars
      of policy and learned metrics.
    - ``turnover/``: ``new`` (share of the distinct examples that no stage before had), ``newly_hard/<metric>`` (share
      of those hard now that were not hard one stage before).
    - ``drift/<metric>/``: quartiles over all examples, ``selected_median``, and the rank correlation with the scores
      ``with_last`` and ``with_first``; ``views/<one>~<other>``: the rank correlation of two metrics.
    - ``training/difficulty/<metric>``: mean score of a batch's examples, as often as the Trainer logs.
    - ``cost/`` and ``machine/``: seconds, tokens, rates, the share of refreshes, the share of the machine's limit.

    TensorBoard also gets histograms (``difficulty/<metric>`` over all scored examples, ``difficulty_selected/<metric>``
    over the plan), the figures ``figures/...``, tables of texts ``examples/...`` (hardest, easiest, newly hard, most
    often chosen), all at the number of the stage, and a page of custom scalars. A logger with ``log_image`` and
    ``log_text``, such as that of Weights & Biases, gets figures and texts. Options of policy, data and model are logged
    as hyperparameters. Comparisons between stages are of a sample of
    :data:`~lit_curriculum.callbacks.stage_history.SAMPLE` examples, which checkpoints keep. Figures are drawn when
    training ends, and before only where that leaves all of them below half a percent of the time.

    Args:
        examples: Rows of each table of texts; 0 logs no texts.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(self, examples: int = 5) -> None:
        check_range("CurriculumMonitor", "[0, inf)", examples=examples)
        self.examples = examples
        self.history, self.cost = StageHistory(), CostMeter()
        self._curriculum: CurriculumCallback | None = None
        self._started = self._begun = 0.0
        self._drawing_seconds, self._one_drawing, self._drawn_at = 0.0, _FIRST_DRAWING, -1
        self._tags: set[str] = set()  # of what was logged here so far
        self._layout: Layout = {}
        self._options: Options = {}

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._curriculum = find_curriculum(trainer)
        self._begun = time.perf_counter()

    @override
    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        self.history.add(report)
        if not self._options and self._curriculum is not None:
            module = trainer.lightning_module
            self.cost.measure(module, trainer.world_size)
            self._options = options_of_run(trainer, module, self._curriculum)
            for logger in trainer.loggers:
                # TensorBoard's table of runs takes them with the final values.
                if trainer.is_global_zero and not isinstance(logger, TensorBoardLogger):
                    logger.log_hyperparams(self._options)
        self.cost.seconds["scoring"] += report.scoring_seconds
        self.cost.seconds["refresh"] += report.refresh_seconds
        self.cost.tokens["scoring"] += report.scored_tokens
        self._log(trainer, {**plan_scalars(report, self.history), **self.cost.scalars()})
        for name, scores in report.table.scores.items():
            chosen = scores[report.plan.indices]
            loggers.log_histogram(trainer, f"difficulty/{name}", scores[np.isfinite(scores)], report.stage)
            loggers.log_histogram(trainer, f"difficulty_selected/{name}", chosen[np.isfinite(chosen)], report.stage)
        if self.examples and trainer.is_global_zero:
            for tag, columns, rows in example_rows(report, self.history, self.examples):
                loggers.log_rows(trainer, f"examples/{tag}", columns, rows, report.stage)
        self._lay_out(trainer, report.table.scores)
        most = _FIGURE_SHARE * (time.perf_counter() - self._begun)
        # Now, and once more at the end.
        if report.stage > 0 and self._drawing_seconds + 2 * self._one_drawing < most:
            self._draw(trainer, report.metrics)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._started = time.perf_counter()

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.cost.seconds["training"] += time.perf_counter() - self._started
        if trainer.global_step % trainer.log_every_n_steps or self._curriculum is None:  # type: ignore[attr-defined]
            return
        sampler, table = curriculum_data(trainer).sampler, self._curriculum.table
        assert sampler.plan is not None
        indices = sampler.plan.indices[batch_idx * sampler.batch_size : (batch_idx + 1) * sampler.batch_size]
        means = {m: table.scores[m][indices] for m in self._curriculum.policy.required_metrics}
        found = {f"training/difficulty/{m}": float(np.nanmean(v)) for m, v in means.items() if np.isfinite(v).any()}
        if found:
            self._log(trainer, found)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = curriculum_data(trainer)
        # Where the curriculum's own hook was called before, the next plan is in force already.
        if data.sampler.plan is not None and data.sampler.stage == trainer.current_epoch:
            indices = data.sampler.plan.indices
            self.cost.tokens["training"] += int(data.train_store.lengths(CONDITIONED)[indices].sum())
            self.cost.tokens["training_response"] += int(data.train_store.num_scored(CONDITIONED)[indices].sum())

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._curriculum is not None and len(self.history):
            self._log(trainer, self.cost.scalars())
            self._lay_out(trainer, self._curriculum.metrics)
            self._log_final_values(trainer, pl_module, self._curriculum)
            if self._drawn_at < len(self.history) - 1:
                self._draw(trainer, self._curriculum.metrics)

    def _log_final_values(self, trainer: Trainer, module: LightningModule, curriculum: CurriculumCallback) -> None:
        """Log to TensorBoard's table of runs, unless a callback with ``logs_final_values`` writes the run's line."""
        callbacks: list[object] = trainer.callbacks  # type: ignore[attr-defined]
        found = {n: float(trainer.callback_metrics[n]) for n in _FINAL_VALUES if n in trainer.callback_metrics}
        if found and not any(getattr(c, "logs_final_values", False) for c in callbacks):
            # A run that was resumed in its last stage has planned none.
            options = self._options or options_of_run(trainer, module, curriculum)
            loggers.log_final_values(trainer, options, found)

    def _log(self, trainer: Trainer, scalars: dict[str, float]) -> None:
        self._tags |= scalars.keys()
        loggers.log_scalars(trainer, scalars)

    def _lay_out(self, trainer: Trainer, metrics: Iterable[str]) -> None:
        """Lay out charts of all tags that have been logged so far."""
        layout = layout_of(metrics, self._tags | trainer.callback_metrics.keys())
        if layout != self._layout:
            loggers.add_layout(trainer, layout)
            self._layout = layout

    def _draw(self, trainer: Trainer, metrics: Mapping[str, DifficultyMetric]) -> None:
        started = time.perf_counter()
        self._drawn_at = len(self.history) - 1
        if trainer.is_global_zero:
            for tag, draw in figures_of(self.history, metrics).items():
                loggers.log_figure(trainer, f"figures/{tag}", partial(_figure, draw), self._drawn_at)
        self._one_drawing = time.perf_counter() - started
        self._drawing_seconds += self._one_drawing

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"version": 1, "history": self.history.state_dict(), "cost": self.cost.state_dict()}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if "history" in state_dict:
            self.history.load_state_dict(state_dict["history"])
            self.cost.load_state_dict(state_dict["cost"])


def _figure(draw: Callable[[Axes], None]) -> Figure:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    draw(figure.subplots())
    return figure


def layout_of(metrics: Iterable[str], tags: Set[str]) -> Layout:
    """:data:`LAYOUT` and the charts of every metric, without charts that none of ``tags`` fills."""
    everything = {**LAYOUT, **_difficulty_layout(metrics)}
    found = {
        category: {
            name: chart for name, chart in charts.items() if any(re.fullmatch(p, t) for p in chart[1] for t in tags)
        }
        for category, charts in everything.items()
    }
    return {category: charts for category, charts in found.items() if charts}


def _difficulty_layout(metrics: Iterable[str]) -> Layout:
    """Charts of quartiles by stage, difficulty of the batches, and agreement."""
    charts: dict[str, tuple[str, list[str]]] = {
        f"{m}: median and quartiles": ("Margin", [f"drift/{m}/{q}" for q in ("median", "lower", "upper")])
        for m in metrics
    }
    charts["of the batches trained on"] = ("Multiline", ["training/difficulty/.*"])
    charts["rank correlation with earlier stages"] = ("Multiline", ["drift/.*/with_.*"])
    charts["rank correlation of views"] = ("Multiline", ["views/.*"])
    return {"Difficulty": charts}


def plan_scalars(report: StageReport, history: StageHistory) -> dict[str, float]:
    """All scalars of a decision by tag; undefined ones are left out."""
    learning = report.learning
    found = {
        **report.scalars,
        "stage": float(report.stage),
        "selected": float(len(report.plan)),
        "candidates": float(len(report.candidates)),
        "scored_tokens": float(report.scored_tokens),
        "scoring_seconds": report.scoring_seconds,
        "selecting_seconds": report.selecting_seconds,
        "refresh_seconds": report.refresh_seconds,
        "overlap": report.overlap,
    }
    if learning.seconds:
        found["learning_seconds"] = learning.seconds
        found["learning_forward_tokens"] = float(learning.forward_tokens)
        found["generated_tokens"] = float(learning.generated_tokens)
    found = {f"curriculum/{name}": float(value) for name, value in found.items()}
    found["turnover/new"] = history.new_share()
    found |= {f"views/{pair}": value for pair, value in history.views().items()}
    for metric, scores in report.table.scores.items():
        known, chosen = scores[np.isfinite(scores)], scores[report.distinct]
        if len(known):
            points = np.quantile(known, [0.25, 0.5, 0.75]).tolist()
            found |= {f"drift/{metric}/{q}": v for q, v in zip(("lower", "median", "upper"), points, strict=True)}
        if np.isfinite(chosen).any():
            found[f"drift/{metric}/selected_median"] = float(np.nanmedian(chosen))
        last, first = history.drift(metric)
        found |= {f"drift/{metric}/with_last": last, f"drift/{metric}/with_first": first}
        harder = report.metrics[metric].higher_is_harder
        found[f"turnover/newly_hard/{metric}"] = history.newly_hard(metric, harder)[1]
    return {tag: value for tag, value in found.items() if np.isfinite(value)}


def options_of_run(trainer: Trainer, module: LightningModule, curriculum: CurriculumCallback) -> Options:
    """Options of policy, metrics, trainer, data and model, under their names in yaml."""
    data, policy = curriculum_data(trainer), curriculum.policy
    given = flat_options("curriculum.policy", policy)
    for name, metric in curriculum.metrics.items():
        given |= flat_options(f"curriculum.metrics.{name}", metric)
    return {
        **{k: v if isinstance(v, (str, int, float)) else str(v) for k, v in given.items() if v is not None},
        **{f"curriculum.metrics.{name}": m.formula for name, m in curriculum.metrics.items()},
        "curriculum.seed": curriculum.seed, "data.batch_size": data.sampler.batch_size,
        "data.examples": len(data.train_store), "trainer.max_epochs": trainer.max_epochs or 0,
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches,
        "model.source": str(getattr(module, "source", None) or type(module).__name__),
        "model.parameters": sum(p.numel() for p in module.parameters()),
    }  # fmt: skip


class CostMeter:
    """Sums of seconds and tokens of training and refreshes; kept in checkpoints.

    The machine's limit is the rate of a product of square matrices in the data type of the weights, timed once on the
    model's device. Operations are counted as ``lit-curriculum plan`` counts them, so padding counts as idle time.
    """

    def __init__(self) -> None:
        self.seconds = {"training": 0.0, "scoring": 0.0, "refresh": 0.0}
        self.tokens = {"training": 0, "training_response": 0, "scoring": 0}
        self._limit = 0.0
        self._footprint: Footprint | None = None
        self._ranks = 1

    def measure(self, module: LightningModule, ranks: int) -> None:
        """Time the machine and count the model's parameters, once."""
        self._ranks = ranks
        weights = next(iter(module.parameters()), None)
        if weights is not None and isinstance(module, CausalLMModule) and not module.trust_remote_code:
            self._limit = machine_limit(module.device, weights.dtype)
            self._footprint = footprint(module)

    def scalars(self) -> dict[str, float]:
        """Totals, rates and shares so far, under the tags of the log."""
        seconds, tokens = self.seconds, self.tokens
        found = {f"cost/{name}_seconds": value for name, value in seconds.items()}
        found |= {f"cost/{name}_tokens": float(value) for name, value in tokens.items()}
        spent = seconds["training"] + seconds["refresh"]
        if spent:
            found["cost/refresh_share"] = seconds["refresh"] / spent
        for name in ("training", "scoring"):
            if seconds[name] and tokens[name]:
                found[f"cost/{name}_tokens_per_second"] = tokens[name] / seconds[name]
        if self._footprint is not None and self._limit:
            work = self._footprint.training_flops(tokens["training"], tokens["training_response"])
            if seconds["training"] and tokens["training"]:
                found["machine/training_share_of_limit"] = work / seconds["training"] / self._ranks / self._limit
            if seconds["scoring"] and tokens["scoring"]:
                # Without the output head, since the number of scored positions is not known here.
                scored = self._footprint.forward_flops(tokens["scoring"], 0)
                found["machine/scoring_share_of_limit"] = scored / seconds["scoring"] / self._ranks / self._limit
            found["machine/limit_flops"] = self._limit
        return found

    def state_dict(self) -> dict[str, Any]:
        """Seconds and tokens."""
        return {"seconds": dict(self.seconds), "tokens": dict(self.tokens)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.seconds, self.tokens = dict(state["seconds"]), dict(state["tokens"])


def machine_limit(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a matrix product, the best of a few; larger matrices on faster machines."""
    generator = torch.Generator().manual_seed(0)
    rate = 0.0
    for side in _SIDES:
        one = torch.rand(side, side, generator=generator).to(device, dtype)
        best = min(_seconds(one) for _ in range(_REPEATS + 1))  # the first one warms up
        rate = 2.0 * side**3 / best
        if best >= _LONG_ENOUGH:
            break
    return rate


def _seconds(one: Tensor) -> float:
    """Time one product."""
    started = time.perf_counter()
    product = one @ one
    product[0, 0].item()  # waits for the device
    return time.perf_counter() - started
