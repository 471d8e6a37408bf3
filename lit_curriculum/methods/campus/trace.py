"""Draw which schedule each stage of CAMPUS was taught from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from typing_extensions import override

from lit_curriculum.loop.hooks import CurriculumObserver
from lit_curriculum.loop.planner import StageReport
from lit_curriculum.report.figures import BLACK, BLUE, GREEN, GREY, ORANGE

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
        schedule_trace(figure.subplots(), self.perplexities, self.chosen)
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


def schedule_trace(axes: Axes, perplexities: Mapping[str, Sequence[float]], chosen: Sequence[str]) -> None:
    """Perplexity of every schedule's band at each stage, and the schedule that was chosen.

    Args:
        axes: Drawn into.
        perplexities: Schedule -> [S] perplexity of its band before each stage; NaN where it had none or none was
            measured.
        chosen: [S] the schedule whose band the stage trained on.
    """
    stages = np.arange(len(chosen))
    for (name, values), colour in zip(
        perplexities.items(), (BLUE, ORANGE, GREEN, BLACK, GREY) * len(perplexities), strict=False
    ):
        line = np.asarray(values, dtype=float)
        taught = np.array([c == name for c in chosen])
        axes.plot(stages, line, color=colour, linewidth=1, label=f"{name}: {int(taught.sum())}")
        if np.isfinite(line).any():
            axes.plot(stages[taught], line[taught], "o", color=colour, markersize=6)
        else:
            axes.plot(stages[taught], np.ones(int(taught.sum())), "o", color=colour, markersize=6)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("stage")
    axes.set_ylabel("perplexity of the schedule's band; dot: taught")
    axes.legend(loc="upper right", frameon=False, title="stages taught")
