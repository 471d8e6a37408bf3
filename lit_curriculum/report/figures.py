"""Figures from numbers of a run; no torch, no display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

# Okabe and Ito's palette: distinct with any kind of colour vision, and in grey by lightness.
BLUE, ORANGE, GREEN, GREY, BLACK = "#0072B2", "#E69F00", "#009E73", "#999999", "#000000"
MANY = 12
"""Rows of a matrix up to which its numbers can be read."""


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` to ``path``; the suffix decides on PNG or SVG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    plt.close(figure)


def share_matrix(axes: Axes, shares: ArrayLike, label: str, title: str, names: Sequence[str] | None = None) -> None:
    """A square matrix of shares in [0, 1]: see :func:`matrix`; rows are numbered where they have no names."""
    values = np.asarray(shares, dtype=float)
    names = [str(i) for i in range(len(values))] if names is None else names
    matrix(axes, values, names, label, title, low=0.0, colours="cividis")


def correlation_matrix(axes: Axes, correlations: ArrayLike, names: Sequence[str], label: str, title: str) -> None:
    """A square matrix of correlations in [-1, 1]: see :func:`matrix`; empty where there is none."""
    matrix(axes, np.asarray(correlations, dtype=float), names, label, title, low=-1.0, colours="PuOr")


def matrix(
    axes: Axes, values: NDArray[np.float64], names: Sequence[str], label: str, title: str, low: float, colours: str
) -> None:
    """A square matrix with its numbers, or with a scale of its colours where they would not be read.

    Args:
        axes: Drawn into.
        values: [K, K], NaN where there is none.
        names: [K] of rows and columns.
        label: What those are.
        title: What the numbers are.
        low: The lowest number that there can be; the highest is 1.
        colours: Name of a matplotlib colour map.
    """
    image = axes.imshow(values, vmin=low, vmax=1.0, cmap=colours)
    colours_of = image.to_rgba(values)
    if len(values) <= MANY:
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                light = np.dot(colours_of[row, column, :3], (0.299, 0.587, 0.114)) > 0.5
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7,
                          color=BLACK if light else "white")  # fmt: skip
    else:
        axes.figure.colorbar(image, ax=axes)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel(label)
    axes.set_ylabel(label)
    axes.set_title(title, fontsize=10)


def score_histogram(axes: Axes, scores: Sequence[float], name: str, unit: str) -> None:
    """Histogram of scores; the outermost 0.5 % on either side are in the last bars.

    Args:
        axes: Drawn into.
        scores: Scores of all examples; NaN where there is none, counted in the title.
        name: The metric.
        unit: What its numbers mean.
    """
    values = np.asarray(scores, dtype=float)
    known = values[np.isfinite(values)]
    title = f"{name}: {len(known)} examples"
    if len(known) < len(values):
        title += f", {len(values) - len(known)} without a score"
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(f"{name} ({unit})")
    axes.set_ylabel("examples")
    if not len(known):
        return
    low, median, high = np.quantile(known, [0.005, 0.5, 0.995])
    axes.hist(np.clip(known, low, high), bins=60, color=BLUE)
    axes.axvline(float(median), color=ORANGE, label=f"median {median:.4g}")
    axes.legend(loc="upper right", frameon=False)


def gap_histogram(axes: Axes, gaps: Sequence[float], delta: float) -> None:
    """Histogram of the Model Fitting Difficulty in half points, with the threshold of hard instructions.

    Args:
        axes: Drawn into.
        gaps: Teacher's score minus student's; NaN where there is none, counted in the title.
        delta: The threshold that a hard instruction lies above.
    """
    values = np.asarray(gaps, dtype=float)
    known = values[np.isfinite(values)]
    hard = known > delta
    title = f"{len(known)} instructions, {hard.mean() if len(known) else 0.0:.1%} hard"
    if len(known) < len(values):
        title += f", {len(values) - len(known)} without a judgement"
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("Model Fitting Difficulty (points, 1 to 10)")
    axes.set_ylabel("instructions")
    if not len(known):
        return
    # Nearly all gaps of a good student are 0, so that few hard ones would not be seen on a linear axis.
    axes.set_yscale("symlog")
    edges = np.arange(-9.25, 9.5, 0.5)
    axes.hist(
        [known[~hard], known[hard]], bins=edges.tolist(), stacked=True, color=[GREY, BLUE], label=["easy", "hard"]
    )
    axes.axvline(delta, color=ORANGE, label=f"threshold {delta:g}")
    axes.legend(loc="upper left", frameon=False)


def mixture(axes: Axes, shares: Sequence[Mapping[str, float]]) -> None:
    """Share of each ability in every stage, stacked.

    Args:
        axes: Drawn into.
        shares: Ability -> share of the stage's rows, stage by stage; an ability that is not named has none.
    """
    names = sorted({a for stage in shares for a in stage})
    colours = plt.get_cmap("cividis")(np.linspace(0.05, 0.95, len(names)))
    # A share holds until the next stage, and a run of one stage has a width too.
    values = [[stage.get(a, 0.0) for stage in [*shares, shares[-1]]] for a in names]
    axes.stackplot(range(len(shares) + 1), values, labels=names, colors=colours, step="post")
    axes.set_xlim(0, len(shares))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("stages done")
    axes.set_ylabel("share of the stage's rows")
    axes.set_ylim(0, 1)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def mixture_figure(shares: Sequence[Mapping[str, float]]) -> Figure:
    """:func:`mixture` as a figure outside of pyplot's list, so that it need not be closed."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    mixture(figure.subplots(), shares)
    return figure
