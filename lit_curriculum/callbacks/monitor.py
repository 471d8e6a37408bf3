"""Everything about a curriculum that a log can show: scalars, histograms, figures and examples to read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from typing_extensions import override

from lit_curriculum.callbacks import log_sinks
from lit_curriculum.callbacks.checks import curriculum_data
from lit_curriculum.callbacks.curriculum import CurriculumCallback
from lit_curriculum.callbacks.hyperparameters import Options, log_options, log_reached, options_of_run
from lit_curriculum.callbacks.monitor_cost import CostMeter
from lit_curriculum.callbacks.monitor_history import StageHistory
from lit_curriculum.callbacks.monitor_views import example_rows, figures_of, layout_of, plan_scalars
from lit_curriculum.callbacks.observer import CurriculumObserver, StageReport
from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.types import CONDITIONED

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
    :data:`~lit_curriculum.callbacks.monitor_history.SAMPLE` examples, which checkpoints keep. Figures are drawn when
    training ends, and before only where that leaves all of them below half a percent of the time.

    Args:
        examples: Rows of each table of texts; 0 logs no texts.
        figures: Draw figures.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(self, examples: int = 5, figures: bool = True) -> None:
        if examples < 0:
            raise ValueError(f"CurriculumMonitor.examples must be at least 0, got {examples}.")
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
        store = curriculum_data(trainer).train_store
        self.history.add(report, store)
        if not self._options and self._curriculum is not None:
            module = trainer.lightning_module
            self.cost.measure(module, trainer.world_size)
            self._options = options_of_run(trainer, module, self._curriculum)
            log_options(trainer, self._options)
        self.cost.seconds["scoring"] += report.scoring_seconds
        self.cost.seconds["refresh"] += report.scoring_seconds + report.selecting_seconds + report.learning.seconds
        self.cost.tokens["scoring"] += report.scored_tokens
        self._log(trainer, {**plan_scalars(report, self.history), **self.cost.scalars()})
        for name, scores in report.table.scores.items():
            chosen = scores[report.plan.indices]
            log_sinks.log_histogram(trainer, f"difficulty/{name}", scores[np.isfinite(scores)], report.stage)
            log_sinks.log_histogram(trainer, f"difficulty_selected/{name}", chosen[np.isfinite(chosen)], report.stage)
        if self.examples and trainer.is_global_zero:
            for tag, columns, rows in example_rows(report, self.history, store, self.examples):
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
        means = {m: table.scores[m][indices] for m in self._curriculum.policy.reads}
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
