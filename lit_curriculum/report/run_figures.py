"""Figures that compare runs: validation, cost, and the examples of the stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lit_curriculum.report.figures import BLACK, BLUE, GREEN, GREY, ORANGE
from lit_curriculum.report.runs import Run

# Okabe and Ito's palette, the darker colours first; dashes distinguish conditions without any colour.
PALETTE = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#D55E00", BLACK, GREY)
DASHES = ("-", "--", "-.", ":")


def style(place: int) -> dict[str, Any]:
    """Colour and dashes of the condition at ``place``."""
    return {"color": PALETTE[place % len(PALETTE)], "linestyle": DASHES[place % len(DASHES)]}


def measure_by(axes: Axes, conditions: Mapping[str, Sequence[Run]], measure: str, against: str) -> None:
    """``measure`` of every condition: mean over its runs and, behind it, each run.

    Args:
        axes: Drawn into.
        conditions: Label -> runs.
        measure: Name of a validation scalar.
        against: ``step``, or ``seconds`` for wall time of training and refreshes together.
    """
    for place, (label, runs) in enumerate(conditions.items()):
        curves = [_curve(run, measure, against) for run in runs]
        curves = [c for c in curves if len(c)]
        for curve in curves if len(curves) > 1 else []:
            axes.plot(curve[:, 0], curve[:, 1], color=PALETTE[place % len(PALETTE)], alpha=0.25, linewidth=0.8)
        if not curves:
            continue
        shared = min(len(c) for c in curves)  # runs of one condition validate at the same moments, if not to their end
        mean = np.mean([c[:shared] for c in curves], axis=0)
        marker = "o" if shared == 1 else ""
        axes.plot(mean[:, 0], mean[:, 1], label=label, marker=marker, **style(place))
    axes.set_xlabel("optimizer steps" if against == "step" else "seconds of training and refreshes")
    axes.set_ylabel(measure)
    axes.legend(frameon=False, fontsize=8)


def _curve(run: Run, measure: str, against: str) -> np.ndarray:
    points = []
    for entry in run.validations:
        if measure in entry["metrics"]:
            seconds = entry["training_seconds"] + entry["refresh_seconds"]
            points.append((entry["step"] if against == "step" else seconds, entry["metrics"][measure]))
    return np.array(points, dtype=float)


def cost_bars(axes: Axes, conditions: Mapping[str, Sequence[Run]]) -> None:
    """Seconds of training, scoring, selecting and training of metrics, mean over a condition's runs."""
    parts = ("training_seconds", "scoring_seconds", "selecting_seconds", "learning_seconds")
    names = ("training", "scoring", "selecting", "training of metrics")
    places = np.arange(len(conditions))
    left = np.zeros(len(conditions))
    for part, name, colour in zip(parts, names, (BLUE, ORANGE, GREEN, BLACK), strict=True):
        means = np.array([np.mean([sum(s[part] for s in r.stages) for r in runs]) for runs in conditions.values()])
        if means.any():
            axes.barh(places, means, left=left, color=colour, label=name)
        left += means
    axes.set_yticks(places, list(conditions))
    axes.set_ylim(max(len(conditions), 4) - 0.5, -0.5)  # the first on top, and a single bar no wall
    axes.set_xlabel("seconds")
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def stage_sizes(axes: Axes, conditions: Mapping[str, Sequence[Run]]) -> None:
    """Distinct examples of every stage; the first run of each condition."""
    for place, (label, runs) in enumerate(conditions.items()):
        stages = runs[0].stages
        axes.plot(
            [s["stage"] for s in stages], [s["distinct"] for s in stages], label=label, marker=".", **style(place)
        )
    axes.set_xlabel("stage")
    axes.set_ylabel("distinct examples")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=8)


def turnover(axes: Axes, conditions: Mapping[str, Sequence[Run]]) -> None:
    """Share of a stage's distinct examples that the stage before did not have; the first run of each condition."""
    for place, (label, runs) in enumerate(conditions.items()):
        stages = [s for s in runs[0].stages if s["overlap"] is not None]
        axes.plot(
            [s["stage"] for s in stages], [1 - s["overlap"] for s in stages], label=label, marker=".", **style(place)
        )
    axes.set_xlabel("stage")
    axes.set_ylabel("share that is new against the stage before")
    axes.set_ylim(-0.02, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=8)


def score_by_stage(axes: Axes, run: Run, metric: str, unit: str) -> None:
    """Quartiles of a metric over what each stage trained on; stages without a score are left out."""
    groups, places = [], []
    for stage, selection in enumerate(run.selections):
        known = selection.scores.get(metric, np.empty(0))
        known = known[np.isfinite(known)]
        if len(known):
            groups.append(known)
            places.append(stage)
    if groups:
        axes.boxplot(groups, positions=places, showfliers=False, medianprops={"color": ORANGE}, manage_ticks=False)
    axes.set_xlabel("stage")
    axes.set_ylabel(f"{metric} ({unit})")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def score_by_place(axes: Axes, run: Run, metric: str, unit: str, bins: int = 200) -> None:
    """Mean score of the examples in the order of training."""
    scores = np.concatenate([s.scores.get(metric, np.full(len(s.index), np.nan)) for s in run.selections])
    if not np.isfinite(scores).any():
        return
    parts = np.array_split(np.arange(len(scores)), min(bins, len(scores)))
    means = [float(np.nanmean(scores[p])) if np.isfinite(scores[p]).any() else np.nan for p in parts]
    axes.plot([p.mean() for p in parts], means, color=BLUE, linewidth=1)
    for border in np.cumsum([len(s.index) for s in run.selections])[:-1]:
        axes.axvline(border, color=GREY, linewidth=0.5)
    axes.set_xlabel("examples trained on (grey: a stage begins)")
    axes.set_ylabel(f"mean {metric} ({unit})")


def shared_examples(run: Run) -> list[list[float]]:
    """Jaccard index of the distinct examples of every two stages: [S, S], in [0, 1]."""
    chosen = [set(s.index.tolist()) for s in run.selections]
    return [[len(a & b) / max(len(a | b), 1) for b in chosen] for a in chosen]


def ability_shares(run: Run) -> list[dict[str, float]]:
    """Share of each ability among the entries of every stage."""
    shares = []
    for selection in run.selections:
        names, counts = np.unique(selection.abilities, return_counts=True)
        shares.append({str(n): int(c) / len(selection.abilities) for n, c in zip(names, counts, strict=True)})
    return shares


def final_by_ability(axes: Axes, conditions: Mapping[str, Sequence[Run]], prefix: str) -> None:
    """Final value of every ability's scalar under ``prefix``, mean over a condition's runs, each run as a dot."""
    names = sorted({k for runs in conditions.values() for r in runs for v in r.validations for k in v["metrics"]
                    if k.startswith(prefix)})  # fmt: skip
    height = 0.8 / max(len(conditions), 1)
    for place, (label, runs) in enumerate(conditions.items()):
        values = np.array([[run.final(name) for name in names] for run in runs])
        where = np.arange(len(names)) + (place - (len(conditions) - 1) / 2) * height
        colour = PALETTE[place % len(PALETTE)]
        axes.barh(where, values.mean(axis=0), height, color=colour, label=label)
        if len(runs) > 1:
            axes.plot(values.ravel(), np.tile(where, len(runs)), ".", color=BLACK, markersize=2, linestyle="none")
    axes.set_yticks(range(len(names)), [n.removeprefix(prefix) for n in names])
    if "accuracy" in prefix:
        axes.set_xlim(0, 1)
    axes.set_xlabel(prefix.rstrip("/"))
    axes.legend(frameon=False, fontsize=8)
