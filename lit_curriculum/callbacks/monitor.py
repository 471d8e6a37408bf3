"""Curriculum scalars and score histograms for the trainer's loggers."""

from __future__ import annotations

import numpy as np
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from typing_extensions import override

from lit_curriculum.callbacks.observer import CurriculumObserver, StageReport


class CurriculumMonitor(Callback, CurriculumObserver):
    """Logs every decision of the curriculum at the training step at which it was made.

    Scalars go to every logger: ``curriculum/stage``, ``curriculum/selected`` (entries of the plan),
    ``curriculum/overlap`` (share of the distinct examples that the stage before had too),
    ``curriculum/candidates``, ``curriculum/scored_tokens``, ``curriculum/refresh_seconds`` and its parts, and
    whatever the policy reports. Where metrics with parameters of their own are updated, their cost
    (``learning_seconds``, ``generated_tokens``, ``learning_forward_tokens``) and what they report. TensorBoard also
    gets two histograms a metric: ``difficulty/<metric>`` over all scored examples and
    ``difficulty_selected/<metric>`` over the plan; their step is the stage.
    """

    @override
    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        scalars = {
            **report.plan.scalars,
            **report.learning.scalars,
            "stage": float(report.stage),
            "selected": float(len(report.plan)),
            "candidates": float(len(report.candidates)),
            "scored_tokens": float(report.scored_tokens),
            "scoring_seconds": report.scoring_seconds,
            "selecting_seconds": report.selecting_seconds,
            "refresh_seconds": report.scoring_seconds + report.selecting_seconds + report.learning.seconds,
            "overlap": report.overlap,
        }
        if report.learning.seconds:
            scalars["learning_seconds"] = report.learning.seconds
            scalars["learning_forward_tokens"] = float(report.learning.forward_tokens)
            scalars["generated_tokens"] = float(report.learning.generated_tokens)
        if report.previous is None:
            del scalars["overlap"]
        for logger in trainer.loggers:
            logger.log_metrics({f"curriculum/{k}": v for k, v in scalars.items()}, step=trainer.global_step)
            if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                self._histograms(logger, report)

    def _histograms(self, logger: TensorBoardLogger, report: StageReport) -> None:
        for name, scores in report.table.scores.items():
            known = scores[np.isfinite(scores)]
            chosen = scores[report.plan.indices]
            chosen = chosen[np.isfinite(chosen)]
            if len(known):
                logger.experiment.add_histogram(f"difficulty/{name}", known, report.stage)
            if len(chosen):
                logger.experiment.add_histogram(f"difficulty_selected/{name}", chosen, report.stage)
