"""The trace of a policy that chooses among schedules: which one each stage was taught from, as an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from typing_extensions import override

from lit_curriculum.loop.hooks import CurriculumObserver, StageReport
from lit_curriculum.report import figures

_CLOCK, _PERPLEXITY = "clock/", "perplexity/"


class ScheduleTrace(Callback, CurriculumObserver):
    """Keeps which schedule each stage was taught from, with every band's perplexity, and draws it for TensorBoard.

    The image is ``curriculum/schedule_trace``. With a policy that has no schedules nothing is kept or drawn.

    Args:
        every_stages: Stages from one image to the next; there is one at the end in any case.

    Attributes:
        chosen: [S] the schedule of each stage; kept in checkpoints, as is the next.
        perplexities: Schedule -> [S] perplexity of its band; NaN where none was measured.

    Raises:
        ValueError: ``every_stages`` is below 1.
    """

    def __init__(self, every_stages: int = 10) -> None:
        if every_stages < 1:
            raise ValueError(f"every_stages of ScheduleTrace must be at least 1, got {every_stages}.")
        self.every_stages = every_stages
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
        if len(self.chosen) % self.every_stages == 0:
            self._show(trainer)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.chosen and len(self.chosen) % self.every_stages:
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
