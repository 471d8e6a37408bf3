"""The figure of true difficulty: what each metric says, raw and with length controlled for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from experiments.true_difficulty.sources import TWO_SIDED
from experiments.true_difficulty.tables import Measured
from lit_curriculum.report import figures


def draw(found: Mapping[str, Mapping[str, Mapping[str, Measured]]], path: Path) -> None:
    """Raw and controlled correlation of every metric, a panel a source."""
    figure, axes = figures.plt.subplots(len(found) // 2, 2, figsize=(10, 2 * len(found)), layout="constrained")
    for axis, (source, metrics) in zip(axes.flat, found.items(), strict=True):
        raw = "auc" if source in TWO_SIDED else "rho"
        names = list(metrics)[::-1]
        for offset, kind, colour in ((0.15, raw, figures.GREY), (-0.15, "partial", figures.BLUE)):
            for place, name in enumerate(names):
                if kind in metrics[name]:
                    m = metrics[name][kind]
                    # An area as twice its distance from chance: the rank-biserial correlation, on the same axis.
                    low, value, high = (2 * v - 1 if kind == "auc" else v for v in (m.low, m.value, m.high))
                    axis.plot([low, high], [place + offset] * 2, color=colour)
                    axis.plot(value, place + offset, "o", color=colour, markersize=4)
        axis.axvline(0, color=figures.BLACK, linewidth=0.5)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set_xlim(-1, 1)
        axis.set_title(source, fontsize=10)
        axis.set_xlabel(
            "rank correlation with the truth" if raw == "rho" else "2 AUC - 1, or rank correlation", fontsize=8
        )
    axes.flat[0].plot([], [], "o-", color=figures.GREY, label="raw")
    axes.flat[0].plot([], [], "o-", color=figures.BLUE, label="lengths controlled for")
    axes.flat[0].legend(frameon=False, fontsize=8)
    figures.save(figure, path)
