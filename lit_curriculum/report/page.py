"""A self-contained HTML page about runs; figures and tables are files too."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from matplotlib import rc_context
from matplotlib.figure import Figure

from lit_curriculum.report import sections
from lit_curriculum.report.compare import compare, find_control, group_comparable, verdict
from lit_curriculum.report.runs import Run, label_runs

PAGE = "report.html"
# The hash of SVG's names and no date make the same runs give the same bytes.
_SVG: dict[Any, Any] = {"svg.hashsalt": "lit-curriculum", "svg.fonttype": "none", "font.size": 9}


def write_page(runs: Sequence[Run], out: Path, measure: str, control: str | None = None) -> Path:
    """Write ``report.html``, ``figures/*.svg``, ``figures/*.png`` and ``tables/*.csv``, ``tables/*.md`` into ``out``.

    Runs that differ in data, model or budget form separate groups, and are not drawn or compared together.

    Args:
        runs: One or more.
        out: Folder, made where it does not exist.
        measure: The validation scalar that decides, such as ``val/loss``.
        control: Label of the condition that the others are compared with; by default uniform random order.

    Returns:
        The page's path.

    Raises:
        ValueError: no run has the measure, or no condition is called like the control.
    """
    known = sorted({k for run in runs for v in run.validations for k in v["metrics"]})
    if known and measure not in known:
        raise ValueError(f"--measure {measure}: none of the runs has it; they have {', '.join(known)}.")
    labels = label_runs(runs)
    groups, apart = group_comparable(runs, labels)
    if control is not None and control not in labels:
        raise ValueError(f"--control {control!r} is none of the conditions: {'; '.join(dict.fromkeys(labels))}.")
    out.mkdir(parents=True, exist_ok=True)
    shown: list[dict[str, Any]] = []
    for number, group in enumerate(groups, start=1):
        own = find_control(group, control if control in group.conditions else None)
        differences = [] if own is None else compare(group, own, measure)
        tables = sections.tables(group, own, differences, measure)
        prefix = f"group{number}_" if len(groups) > 1 else ""
        for table in tables:
            table.write(out / "tables", prefix)
        with rc_context(_SVG):
            figures = [_keep(f, out / "figures", prefix) for f in sections.figures(group, measure)]
        shown.append(
            {
                "title": f"Group {number}: " * (len(groups) > 1) + "; ".join(group.conditions),
                "verdict": f"Group {number}: " * (len(groups) > 1) + verdict(differences, measure, group.conditions),
                "tables": tables,
                "figures": figures,
            }
        )
    dates = sorted({str(run.card["written"]) for run in runs})
    footer = f"Made from {len(runs)} run{'s' * (len(runs) > 1)} written {dates[0]} to {dates[-1]}."
    page = render(_title(labels, len(runs)), shown, [*apart, *sections.warnings(groups)], footer)
    path = out / PAGE
    path.write_text(page, encoding="utf-8")
    return path


def render(title: str, groups: Sequence[Mapping[str, Any]], warnings: Sequence[str], footer: str) -> str:
    """Render a page from its parts.

    Args:
        title: Its heading.
        groups: Each with ``title``, ``verdict``, ``tables`` (:class:`~lit_curriculum.report.tables.Table`) and
            ``figures`` (``uri`` and ``caption``); the verdicts are together at the top.
        warnings: Sentences, below the verdicts.
        footer: Last line.
    """
    source = files("lit_curriculum.report").joinpath("templates/report.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(source)
    return template.render(
        title=title, version=version("lit-curriculum"), groups=groups, warnings=warnings, footer=footer
    )


def _title(labels: Sequence[str], num_runs: int) -> str:
    names = list(dict.fromkeys(label.split(" (")[0] for label in labels))
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{listed}: {num_runs} run{'s' * (num_runs > 1)}"


def _keep(figure: sections.NamedFigure, folder: Path, prefix: str) -> dict[str, str]:
    """Write the figure to files, and return what the page shows of it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = prefix + "".join(c if c.isalnum() or c in "_-" else "_" for c in figure.name)
    svg = _svg(figure.figure)
    (folder / f"{name}.svg").write_bytes(svg)
    figure.figure.savefig(folder / f"{name}.png", dpi=150)
    uri = "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")
    return {"uri": uri, "caption": figure.caption}


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
