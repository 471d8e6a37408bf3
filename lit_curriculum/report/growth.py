"""Figures and tables of a growth study, from the fits that it has written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from lit_curriculum.report.figures import BLACK, BLUE, GREEN, GREY, ORANGE, save

_COLOURS = (BLUE, ORANGE, GREEN, BLACK)
_CLASS_COLOURS = {
    "responsive": BLUE,
    "accelerating": GREEN,
    "saturated": ORANGE,
    "resistant": BLACK,
    "undetermined": GREY,
}


def growth_curve(axes: Axes, fits: Sequence[Mapping[str, Any]]) -> None:
    """One ability: raw means with their intervals over a base-4 axis, one colour a size, synthetic arms dashed.

    Args:
        axes: Drawn into.
        fits: As ``fits.json`` holds them, all of one ability.
    """
    sizes = sorted({f["size"] for f in fits})
    for fit in fits:
        colour = _COLOURS[sizes.index(fit["size"]) % len(_COLOURS)]
        x = np.log(fit["rungs"]) / np.log(4)
        y = np.array([m["value"] for m in fit["means"]])
        error = np.array([[m["value"] - m["low"], m["high"] - m["value"]] for m in fit["means"]]).T.clip(min=0)
        style = "--" if fit["arm"] == "synthetic" else "-"
        label = f"{fit['arm']}, {fit['size']}"
        axes.errorbar(x, y, error, fmt=f"o{style}", color=colour, capsize=2, markersize=4, label=label)
        if fit["chance"] is not None:
            axes.axhline(fit["chance"], color=GREY, linestyle=":", linewidth=1)
        axes.set_xticks(x, [str(n) for n in fit["rungs"]])
    axes.set_title(f"{fits[0]['ability']}: {', '.join(dict.fromkeys(f['growth_class'] for f in fits))}", fontsize=9)
    axes.set_xlabel("rows of the ability")
    axes.set_ylabel("exact match" if fits[0]["measure"] == "score" else "held-out loss (nats a token)")


def sensitivity_forest(axes: Axes, fits: Sequence[Mapping[str, Any]]) -> None:
    """Slopes per quadrupling with their intervals, coloured by class."""
    ordered = sorted(fits, key=lambda f: f["slope"]["value"])
    for place, fit in enumerate(ordered):
        slope = fit["slope"]
        colour = _CLASS_COLOURS[fit["growth_class"]]
        axes.plot([slope["low"], slope["high"]], [place, place], color=colour)
        axes.plot(slope["value"], place, "o", color=colour)
    labels = [f"{f['ability']} ({f['arm']}, {f['size']}): {f['growth_class']}" for f in ordered]
    axes.set_yticks(range(len(ordered)), labels)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_xlabel("gain per quadrupling of rows")


def class_table(fits: Sequence[Mapping[str, Any]]) -> str:
    """The classes as a Markdown table."""
    lines = [
        "| ability | arm | size | class | slope per quadrupling | curvature | last gain | saturation | items x seeds |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for f in fits:
        numbers = [
            f"{f[k]['value']:.3f} [{f[k]['low']:.3f}, {f[k]['high']:.3f}]" for k in ("slope", "curvature", "last_gain")
        ]
        end = "none in range" if f["saturation_rows"] is None else f"{f['saturation_rows']:.0f} rows"
        cells = [f["ability"], f["arm"], f["size"], f["growth_class"], *numbers, end]
        lines.append("| " + " | ".join([*cells, f"{f['num_items']} x {f['num_seeds']}"]) + " |")
    return "\n".join(lines) + "\n"


def write_report(out: Path, rows: Sequence[Mapping[str, Any]], fits: Sequence[Mapping[str, Any]]) -> None:
    """Write ``curves.svg``, ``sensitivity.svg``, ``classes.md`` and ``classes.json`` into ``out``."""
    abilities = sorted({f["ability"] for f in fits})
    columns = min(3, len(abilities))
    figure, axes = plt.subplots(
        -(-len(abilities) // columns), columns, figsize=(4 * columns, 3 * -(-len(abilities) // columns)), squeeze=False
    )
    for axis in axes.flat[len(abilities) :]:
        axis.set_visible(False)
    for axis, ability in zip(axes.flat, abilities, strict=False):
        growth_curve(axis, [f for f in fits if f["ability"] == ability])
    figure.tight_layout()
    save(figure, out / "curves.svg")
    figure, axis = plt.subplots(figsize=(7, 0.5 * len(fits) + 1))
    sensitivity_forest(axis, fits)
    save(figure, out / "sensitivity.svg")
    (out / "classes.md").write_text(class_table(fits), encoding="utf-8")
    (out / "classes.json").write_text(json.dumps(list(rows), indent=1) + "\n", encoding="utf-8")
