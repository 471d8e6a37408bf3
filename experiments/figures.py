"""Panels that experiments share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lit_curriculum.report.figures import BLACK, BLUE, GREY, ORANGE, plt


def ability_bars(
    axes: Axes, before: Mapping[str, float], after: Mapping[str, float], chance: Mapping[str, float]
) -> None:
    """Accuracy of each ability before and after training, with the level of guessing as a mark.

    Args:
        axes: Drawn into.
        before: Ability -> share of items answered exactly, in [0, 1].
        after: The same after training.
        chance: Ability -> expected share for a guess.
    """
    names = sorted(after, key=lambda a: after[a])
    places = np.arange(len(names))
    axes.barh(places + 0.2, [after[n] for n in names], 0.38, color=BLUE, label="after training")
    axes.barh(places - 0.2, [before[n] for n in names], 0.38, color=GREY, label="before")
    axes.plot([chance[n] for n in names], places, "|", color=BLACK, markersize=14, label="chance", linestyle="none")
    axes.set_yticks(places, names)
    axes.set_xlim(0, 1)
    axes.set_xlabel("exact match on validation items")
    axes.legend(loc="lower right", frameon=False)


def score_by_level(axes: Axes, levels: Sequence[int], scores: Sequence[float], name: str) -> None:
    """Quartiles of a difficulty score at every true level of difficulty."""
    level, score = np.asarray(levels), np.asarray(scores, dtype=float)
    present = sorted(set(level.tolist()))
    groups = [score[(level == v) & np.isfinite(score)] for v in present]
    axes.boxplot(groups, positions=present, widths=0.6, showfliers=False, medianprops={"color": ORANGE})
    axes.set_xticks(present, [str(v) for v in present])
    axes.set_xlabel("true difficulty level")
    axes.set_ylabel(name)


def selected_levels(axes: Axes, levels_by_stage: Sequence[Sequence[int]]) -> None:
    """Share of each true level among the examples that each stage trained on."""
    present = sorted({v for levels in levels_by_stage for v in levels})
    bottom = np.zeros(len(levels_by_stage))
    colours = plt.get_cmap("cividis")(np.linspace(0.1, 0.95, len(present)))
    for value, colour in zip(present, colours, strict=True):
        share = np.array([np.mean(np.asarray(levels) == value) for levels in levels_by_stage])
        axes.bar(np.arange(len(share)), share, bottom=bottom, color=colour, label=f"level {value}")
        bottom += share
    axes.set_xlabel("stage")
    axes.set_ylabel("share of the stage's examples")
    axes.set_xticks(range(len(levels_by_stage)))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def lines_by_round(axes: Axes, rounds: Sequence[int], values: Mapping[str, Sequence[float]], name: str) -> None:
    """One line for each of several quantities over the rounds of a run.

    Args:
        axes: Drawn into.
        rounds: [R] numbers of the rounds.
        values: Label -> [R] values.
        name: What the values are, with their unit.
    """
    colours = plt.get_cmap("viridis")(np.linspace(0.0, 0.9, len(values)))
    for number, (label, line) in enumerate(values.items()):
        style = ("-", "--", ":", "-.")[number % 4]
        axes.plot(rounds, line, style, marker="o", markersize=4, color=colours[number], label=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("round")
    axes.set_ylabel(name)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncol=5 if len(values) > 4 else 2, frameon=False)
