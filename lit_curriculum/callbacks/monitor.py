"""Everything about a curriculum that a log can show: scalars, histograms, figures and examples to read."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import partial
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from typing_extensions import override

from lit_curriculum.callbacks import loggers as log_sinks
from lit_curriculum.callbacks.cost_meter import CostMeter
from lit_curriculum.callbacks.loggers import Layout
from lit_curriculum.callbacks.stage_history import StageHistory
from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.loop.callback import CurriculumCallback
from lit_curriculum.loop.checks import curriculum_data
from lit_curriculum.loop.hooks import CurriculumObserver
from lit_curriculum.loop.planner import StageReport
from lit_curriculum.report.figures import correlation_matrix, share_matrix
from lit_curriculum.report.ledger_views import drift, rank_correlations, shown_stages
from lit_curriculum.types import CONDITIONED, IntArray
from lit_curriculum.utils.options import check_range, flat_options

_REACHED = ("train/loss", "val/loss", "val/accuracy")

Options = dict[str, str | int | float | bool]


def options_of_run(trainer: Trainer, module: LightningModule, curriculum: CurriculumCallback) -> Options:
    """Policy with its options, metrics, seed, stages, batch, data and model, under their names in yaml."""
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


def log_options(trainer: Trainer, options: Options) -> None:
    """To every logger but TensorBoard, whose table wants them with what the run has reached."""
    for logger in trainer.loggers:
        if trainer.is_global_zero and not isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(options)


def log_reached(trainer: Trainer, options: Options) -> None:
    """Log final values to TensorBoard's table of runs, which has one line for each run.

    A callback with ``logs_final_values`` writes that line instead.
    """
    callbacks: list[object] = trainer.callbacks  # type: ignore[attr-defined]
    if not trainer.is_global_zero or any(getattr(c, "logs_final_values", False) for c in callbacks):
        return
    reached = {name: float(trainer.callback_metrics[name]) for name in _REACHED if name in trainer.callback_metrics}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger) and reached:
            logger.log_hyperparams(dict(options), reached, step=trainer.global_step)


_TEXT = 300
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


def layout_of(metrics: Iterable[str], tags: Set[str]) -> Layout:
    """:data:`LAYOUT` and the charts of every metric, without those that none of ``tags`` would fill."""
    everything = {**LAYOUT, **_difficulty_layout(metrics)}
    found = {
        category: {
            name: chart for name, chart in charts.items() if any(re.fullmatch(p, t) for p in chart[1] for t in tags)
        }
        for category, charts in everything.items()
    }
    return {category: charts for category, charts in found.items() if charts}


def _difficulty_layout(metrics: Iterable[str]) -> Layout:
    """Quartiles by stage, difficulty of what is trained on, agreement."""
    charts: dict[str, tuple[str, list[str]]] = {
        f"{m}: median and quartiles": ("Margin", [f"drift/{m}/{q}" for q in ("median", "lower", "upper")])
        for m in metrics
    }
    charts["of the batches trained on"] = ("Multiline", ["training/difficulty/.*"])
    charts["rank correlation with earlier stages"] = ("Multiline", ["drift/.*/with_.*"])
    charts["rank correlation of views"] = ("Multiline", ["views/.*"])
    return {"Difficulty": charts}


def plan_scalars(report: StageReport, history: StageHistory) -> dict[str, float]:
    """All scalars of a decision, under the tags of the log; those that are not defined are left out."""
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


def example_rows(
    report: StageReport, history: StageHistory, count: int
) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Tables of examples to read by the first metric that the policy reads: tag, columns, rows."""
    kinds: dict[str, IntArray] = {}
    metric = next(iter(report.policy.required_metrics), None)
    if metric is not None:
        hardness = report.table.hardness(metric)
        known = np.flatnonzero(np.isfinite(hardness))
        ordered = known[np.argsort(-hardness[known], kind="stable")]
        kinds["hardest"], kinds["easiest"] = ordered[:count], ordered[::-1][:count]
        kinds["newly_hard"] = history.newly_hard(metric, report.metrics[metric].higher_is_harder)[0][:count]
    kinds["most_often_chosen"] = np.argsort(-history.times, kind="stable")[:count]
    columns = ["id", "instruction", "response", metric or "score", "stages"]
    for kind, indices in kinds.items():
        rows = []
        for i in indices.tolist():
            example = report.store[i]
            score = "-" if metric is None else f"{report.table.scores[metric][i]:.5g}"
            rows.append(
                [example.id, example.instruction[:_TEXT], example.response[:_TEXT], score, str(history.times[i])]
            )
        if rows:
            yield kind, columns, rows


def figures_of(history: StageHistory, metrics: Mapping[str, DifficultyMetric]) -> dict[str, Callable[[Axes], None]]:
    """Tag -> what draws it: drift and agreement of stages for each metric, agreement of views, shared examples."""
    states = [history.state(s) for s in shown_stages(range(len(history)))]
    names = [str(s.stage) for s in states]
    found: dict[str, Callable[[Axes], None]] = {}
    for metric in history.scores:
        columns = [s.scores[metric] for s in states]
        if len(states) > 1:
            found[f"drift/{metric}"] = partial(drift, states=states, metric=metric, unit=metrics[metric].unit)
            values = rank_correlations(columns)
            title = f"rank correlation of {metric} between stages"
            found[f"agreement_of_stages/{metric}"] = partial(
                correlation_matrix, correlations=values, names=names, label="stage", title=title
            )
    views = list(history.scores)
    if len(views) > 1:
        values = rank_correlations([states[-1].scores[m] for m in views])
        title = f"rank correlation of the metrics at stage {names[-1]}"
        found["agreement_of_views"] = partial(
            correlation_matrix, correlations=values, names=views, label="", title=title
        )
    if len(states) > 1:
        shares = history.overlaps([s.stage for s in states])
        title = "share of the row's examples that the column has too"
        found["shared_examples"] = partial(share_matrix, shares=shares, names=names, label="stage", title=title)
    return found


_FIGURE_SHARE = 0.005  # of the run's time so far that figures may take, with those at its end
_FIRST_DRAWING = 0.5  # seconds, as long as no figures have been drawn


class CurriculumMonitor(Callback, CurriculumObserver):
    """Logs every decision of the curriculum at the training step at which it was made.

    Scalars go to every logger:

    - ``curriculum/``: ``stage``, ``selected`` (entries of the plan), ``overlap`` (share of the distinct examples that
      the stage before had too), ``candidates``, ``scored_tokens``, ``refresh_seconds`` and its parts, and whatever
      policy and learned metrics report.
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
        figures: Draw figures.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(self, examples: int = 5, figures: bool = True) -> None:
        check_range("CurriculumMonitor", "[0, inf)", examples=examples)
        self.examples, self.figures = examples, figures
        self.history, self.cost = StageHistory(), CostMeter()
        self._curriculum: CurriculumCallback | None = None
        self._started = self._begun = 0.0
        self._drawing_seconds, self._one_drawing, self._drawn_at = 0.0, _FIRST_DRAWING, -1
        self._tags: set[str] = set()  # of what was logged here so far
        self._layout: log_sinks.Layout = {}
        self._options: Options = {}

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        callbacks: list[object] = trainer.callbacks  # type: ignore[attr-defined]
        self._curriculum = next((c for c in callbacks if isinstance(c, CurriculumCallback)), None)
        self._begun = time.perf_counter()

    @override
    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        self.history.add(report)
        if not self._options and self._curriculum is not None:
            module = trainer.lightning_module
            self.cost.measure(module, trainer.world_size)
            self._options = options_of_run(trainer, module, self._curriculum)
            log_options(trainer, self._options)
        self.cost.seconds["scoring"] += report.scoring_seconds
        self.cost.seconds["refresh"] += report.refresh_seconds
        self.cost.tokens["scoring"] += report.scored_tokens
        self._log(trainer, {**plan_scalars(report, self.history), **self.cost.scalars()})
        for name, scores in report.table.scores.items():
            chosen = scores[report.plan.indices]
            log_sinks.log_histogram(trainer, f"difficulty/{name}", scores[np.isfinite(scores)], report.stage)
            log_sinks.log_histogram(trainer, f"difficulty_selected/{name}", chosen[np.isfinite(chosen)], report.stage)
        if self.examples and trainer.is_global_zero:
            for tag, columns, rows in example_rows(report, self.history, self.examples):
                log_sinks.log_rows(trainer, f"examples/{tag}", columns, rows, report.stage)
        self._lay_out(trainer, report.table.scores)
        most = _FIGURE_SHARE * (time.perf_counter() - self._begun)
        # Now, and once more at the end.
        if self.figures and report.stage > 0 and self._drawing_seconds + 2 * self._one_drawing < most:
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
            # A run that was continued within its last stage has planned none.
            log_reached(trainer, self._options or options_of_run(trainer, pl_module, self._curriculum))
            if self.figures and self._drawn_at < len(self.history) - 1:
                self._draw(trainer, self._curriculum.metrics)

    def _log(self, trainer: Trainer, scalars: dict[str, float]) -> None:
        self._tags |= scalars.keys()
        log_sinks.log_scalars(trainer, scalars)

    def _lay_out(self, trainer: Trainer, metrics: Iterable[str]) -> None:
        """Show a chart of everything that there is by now."""
        layout = layout_of(metrics, self._tags | trainer.callback_metrics.keys())
        if layout != self._layout:
            log_sinks.add_layout(trainer, layout)
            self._layout = layout

    def _draw(self, trainer: Trainer, metrics: Mapping[str, DifficultyMetric]) -> None:
        started = time.perf_counter()
        self._drawn_at = len(self.history) - 1
        if trainer.is_global_zero:
            for tag, draw in figures_of(self.history, metrics).items():
                figure = Figure(figsize=(7, 4.5), layout="constrained")
                draw(figure.subplots())
                log_sinks.log_figure(trainer, f"figures/{tag}", figure, self._drawn_at)
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
