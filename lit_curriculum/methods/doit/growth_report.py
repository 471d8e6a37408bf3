"""Figures and tables of a growth study, from the fits that it has written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter1d

from lit_curriculum.report.figures import BLACK, BLUE, GREEN, GREY, ORANGE, save

_COLOURS = (BLUE, ORANGE, GREEN, BLACK)
CLASS_COLOURS = {
    "responsive": BLUE,
    "accelerating": GREEN,
    "saturated": ORANGE,
    "resistant": BLACK,
    "undetermined": GREY,
}


def growth_curve(axes: Axes, fits: Sequence[Mapping[str, Any]], smooth: float | None = None) -> None:
    """One ability: raw means with their intervals and the fitted curve over a base-4 axis.

    One colour a size; the fit of a synthetic arm is dashed; a dotted line is the level of guessing.

    Args:
        axes: Drawn into.
        fits: As ``fits.json`` holds them, all of one ability.
        smooth: Also draw the means smoothed by a normal kernel of this width in rungs, for display alone.
    """
    sizes = sorted({f["size"] for f in fits})
    for fit in fits:
        colour = _COLOURS[sizes.index(fit["size"]) % len(_COLOURS)]
        x = np.log(fit["rungs"]) / np.log(4)
        y = np.array([m["value"] for m in fit["means"]])
        error = np.array([[m["value"] - m["low"], m["high"] - m["value"]] for m in fit["means"]]).T.clip(min=0)
        synthetic = fit["arm"] == "synthetic"
        marker = {"markerfacecolor": "white"} if synthetic else {}
        label = f"{fit['arm']}, {fit['size']}"
        axes.errorbar(x, y, error, fmt="o", color=colour, capsize=2, markersize=4, label=label, **marker)  # type: ignore[arg-type]
        grid = np.log(fit["fitted"]["rows"]) / np.log(4)
        axes.plot(grid, fit["fitted"]["values"], "--" if synthetic else "-", color=colour, linewidth=1)
        if smooth is not None:
            axes.plot(
                x, gaussian_filter1d(y, smooth), ":", color=colour, label=f"{label}, smoothed by {smooth:g} rungs"
            )
        if fit["chance"] is not None:
            axes.axhline(fit["chance"], color=GREY, linestyle=":", linewidth=1)
        axes.set_xticks(x, [str(n) for n in fit["rungs"]])
    classes = ", ".join(dict.fromkeys(f["growth_class"] for f in fits))
    families = ", ".join(dict.fromkeys(f["curve"]["family"].replace("_", "-") for f in fits))
    axes.set_title(f"{fits[0]['ability']}: {classes} ({families})", fontsize=9)
    axes.set_xlabel("rows of the ability")
    axes.set_ylabel("exact match" if fits[0]["measure"] == "score" else "held-out loss (nats a token)")
    if len(fits) > 1 or smooth is not None:
        axes.legend(frameon=False, fontsize=7)


def sensitivity_forest(axes: Axes, fits: Sequence[Mapping[str, Any]], sizes: Sequence[Mapping[str, Any]] = ()) -> None:
    """Slopes with their intervals, coloured by class: S_D per quadrupling of rows as dots, S_N per doubling as squares.

    Args:
        axes: Drawn into.
        fits: As ``fits.json`` holds them.
        sizes: Slopes over model size, as ``findings.json`` holds them.
    """
    entries = [(f, f"{f['ability']} ({f['arm']}, {f['size']})", "o") for f in fits]
    entries += [(s, f"{s['ability']} ({s['arm']}), by size", "s") for s in sizes]
    entries.sort(key=lambda e: (e[2], e[0]["slope"]["value"]))
    for place, (fit, _, marker) in enumerate(entries):
        slope, colour = fit["slope"], CLASS_COLOURS[fit["growth_class"]]
        axes.plot([slope["low"], slope["high"]], [place, place], color=colour)
        axes.plot(slope["value"], place, marker, color=colour)
    axes.set_yticks(range(len(entries)), [f"{name}: {f['growth_class']}" for f, name, _ in entries])
    axes.axvline(0, color=GREY, linewidth=1)
    doubling = ", squares: per doubling of parameters" if sizes else ""
    axes.set_xlabel(f"gain per quadrupling of rows{doubling}")


def transfer_heat_map(axes: Axes, transfer: Mapping[str, Any]) -> None:
    """T_ab with the numbers written in it; those whose interval excludes zero are bold.

    Args:
        axes: Drawn into.
        transfer: ``sources``, ``targets`` and ``matrix`` of intervals.
    """
    values = np.array([[t["value"] for t in row] for row in transfer["matrix"]])
    limit = float(np.abs(values).max()) or 1.0
    axes.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        entry = transfer["matrix"][row][column]
        sure = entry["low"] > 0 or entry["high"] < 0
        colour = "white" if abs(value) > 0.6 * limit else BLACK
        axes.text(column, row, f"{value:.3f}", ha="center", va="center", fontsize=8, color=colour,
                  fontweight="bold" if sure else "normal")  # fmt: skip
    axes.set_xticks(range(len(transfer["targets"])), transfer["targets"], rotation=45, ha="right")
    axes.set_yticks(range(len(transfer["sources"])), transfer["sources"])
    axes.set_xlabel("ability measured")
    axes.set_ylabel("ability trained on alone")
    axes.set_title("gain per quadrupling of rows\nbold: interval excludes 0", fontsize=8)


def class_table(fits: Sequence[Mapping[str, Any]]) -> str:
    """The classes as a Markdown table."""
    lines = [
        "| ability | arm | size | class | slope per quadrupling | curvature | last gain | saturation | items x seeds |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for f in fits:
        numbers = [_interval(f[k]) for k in ("slope", "curvature", "last_gain")]
        end = "none in range" if f["saturation_rows"] is None else f"{f['saturation_rows']:.0f} rows"
        cells = [f["ability"], f["arm"], f["size"], f["growth_class"], *numbers, end]
        lines.append("| " + " | ".join([*cells, f"{f['num_items']} x {f['num_seeds']}"]) + " |")
    return "\n".join(lines) + "\n"


def report_text(fits: Sequence[Mapping[str, Any]], findings: Mapping[str, Any]) -> str:
    """Classes, sizes, method, crossovers, transfer, proxies and warnings, in Markdown."""
    parts = [class_table(fits)]
    if findings["sizes"]:
        lines = [
            f"- {s['ability']} ({s['arm']}): {_interval(s['slope'])}, {s['growth_class']}" for s in findings["sizes"]
        ]
        parts.append("Gain per doubling of parameters:\n\n" + "\n".join(lines) + "\n")
    if findings["method"]:
        lines = [f"- {a}: {_interval(v)}" for a, v in findings["method"].items()]
        parts.append("Curated less synthetic, mean over shared rungs:\n\n" + "\n".join(lines) + "\n")
    if findings["crossovers"]:
        lines = [f"- {c['second']} passes {c['first']} at {c['rows']:.0f} rows" for c in findings["crossovers"]]
        what = "of scores between arms and sizes, of gains between abilities"
        parts.append(f"Crossovers ({what}):\n\n" + "\n".join(lines) + "\n")
    for name, title in (
        ("transference", "Share of the gain that the other abilities bring (project proxy of transference)"),
        ("correlations", "Rank correlation of slopes with the project proxies, over few abilities"),
    ):
        if findings[name]:
            lines = [f"- {a}: {_interval(v)}" for a, v in findings[name].items()]
            parts.append(f"{title}:\n\n" + "\n".join(lines) + "\n")
    parts.append("Warnings:\n\n" + "\n".join(f"- {w}" for w in _warnings(fits)) + "\n")
    return "\n".join(parts)


def _warnings(fits: Sequence[Mapping[str, Any]]) -> list[str]:
    unsure = [f["ability"] for f in fits if f["growth_class"] == "undetermined"]
    said = [f"{len(unsure)} of {len(fits)} curves are undetermined" + (f": {', '.join(unsure)}" if unsure else "")]
    few = sorted({f["ability"] for f in fits if f["num_items"] < 200})
    if few:
        said.append(f"fewer than 200 items, so small slopes cannot be distinguished from none: {', '.join(few)}")
    single = sorted({f["ability"] for f in fits if f["num_seeds"] < 2})
    if single:
        said.append(f"one seed, so the intervals hold the items' chance alone: {', '.join(single)}")
    return said


def _interval(v: Mapping[str, float]) -> str:
    return f"{v['value']:.3f} [{v['low']:.3f}, {v['high']:.3f}]"


def curve_figure(fits: Sequence[Mapping[str, Any]], smooth: float | None = None) -> Figure:
    """:func:`growth_curve` of one ability as a figure."""
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    growth_curve(figure.subplots(), fits, smooth)
    return figure


def sensitivity_figure(fits: Sequence[Mapping[str, Any]], sizes: Sequence[Mapping[str, Any]] = ()) -> Figure:
    """:func:`sensitivity_forest` as a figure."""
    figure = Figure(figsize=(8, 0.4 * (len(fits) + len(sizes)) + 1.2), layout="constrained")
    sensitivity_forest(figure.subplots(), fits, sizes)
    return figure


def transfer_figure(transfer: Mapping[str, Any]) -> Figure:
    """:func:`transfer_heat_map` as a figure."""
    width, height = len(transfer["targets"]), len(transfer["sources"])
    figure = Figure(figsize=(0.8 * width + 2, 0.6 * height + 2), layout="constrained")
    transfer_heat_map(figure.subplots(), transfer)
    return figure


def write_report(
    out: Path,
    rows: Sequence[Mapping[str, Any]],
    fits: Sequence[Mapping[str, Any]],
    findings: Mapping[str, Any] | None = None,
    smooth: float | None = None,
) -> None:
    """Write ``curves.svg``, ``sensitivity.svg``, ``classes.md``, ``classes.json`` and, with findings, the rest.

    Args:
        out: Folder.
        rows: Rows of a results file.
        fits: As ``fits.json`` holds them.
        findings: As ``findings.json`` holds them; with them also ``report.md`` and, where there is one,
            ``transfer.svg``.
        smooth: See :func:`growth_curve`.
    """
    abilities = sorted({f["ability"] for f in fits})
    columns = min(3, len(abilities))
    lines = -(-len(abilities) // columns)
    figure = Figure(figsize=(4 * columns, 3 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    for axis in axes.flat[len(abilities) :]:
        axis.set_visible(False)
    for axis, ability in zip(axes.flat, abilities, strict=False):
        growth_curve(axis, [f for f in fits if f["ability"] == ability], smooth)
    save(figure, out / "curves.svg")
    save(sensitivity_figure(fits, () if findings is None else findings["sizes"]), out / "sensitivity.svg")
    (out / "classes.md").write_text(class_table(fits), encoding="utf-8")
    (out / "classes.json").write_text(json.dumps(list(rows), indent=1) + "\n", encoding="utf-8")
    if findings is not None:
        (out / "report.md").write_text(report_text(fits, findings), encoding="utf-8")
        if findings["transfer"] is not None:
            save(transfer_figure(findings["transfer"]), out / "transfer.svg")
