"""Draw which schedule each stage of CAMPUS was taught from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from typing_extensions import override

from lit_curriculum.loop.hooks import CurriculumObserver
from lit_curriculum.loop.planner import StageReport
from lit_curriculum.report import figures

_CLOCK, _PERPLEXITY = "clock/", "perplexity/"
_EVERY_STAGES = 10


class ScheduleTrace(Callback, CurriculumObserver):
    """Keep the schedule chosen at each stage and every band's perplexity, and draw them for TensorBoard.

    The image is ``curriculum/schedule_trace``, every 10 stages and at the end of training. With a policy that has no
    schedules nothing is kept or drawn.

    Attributes:
        chosen: [S] the schedule of each stage; kept in checkpoints, as is the next.
        perplexities: Schedule -> [S] perplexity of its band; NaN where none was measured.
    """

    def __init__(self) -> None:
        self.chosen: list[str] = []
        self.perplexities: dict[str, list[float]] = {}

    @override
    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        scalars = report.plan.scalars
        names = [key.removeprefix(_CLOCK) for key in scalars if key.startswith(_CLOCK)]
        if not names or "chosen" not in scalars:
            return
        self.chosen.append(names[int(scalars["chosen"])])
        for name in names:
            self.perplexities.setdefault(name, []).append(scalars.get(f"{_PERPLEXITY}{name}", float("nan")))
        if len(self.chosen) % _EVERY_STAGES == 0:
            self._show(trainer)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.chosen and len(self.chosen) % _EVERY_STAGES:
            self._show(trainer)

    def draw(self) -> Figure:
        """The figure so far."""
        figure = Figure(figsize=(9, 4.5))
        figures.schedule_trace(figure.subplots(), self.perplexities, self.chosen)
        return figure

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"chosen": list(self.chosen), "perplexities": {n: list(v) for n, v in self.perplexities.items()}}

    @override
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.chosen = list(state_dict["chosen"])
        self.perplexities = {name: list(values) for name, values in state_dict["perplexities"].items()}

    def _show(self, trainer: Trainer) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                logger.experiment.add_figure("curriculum/schedule_trace", self.draw(), len(self.chosen) - 1)
