"""Questions of the papers that ask how much and not which: tables made from the files of the experiments."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from lit_curriculum.report.tables import Table

FIGURES = {"IterIT": ("true_difficulty",), "DoIT": ("growth_study",)}
"""Paper -> folders of results whose figures belong to it, beside those of its claims."""
_STUDIES = {
    "growth_study": "generated abilities",
    "growth_real": "real data, SmolLM2-135M",
}
_RESCORED = "complexity alone, everything re-scored"
_TURNOVER = {"iterit_ablation": "generated abilities", "iterit_ablation_real": "short real rows, SmolLM2-135M"}
_METRICS = {"true_difficulty_text": "of the text", "true_difficulty": "of text and model"}


def tables(paper: str, results: Path) -> list[Table]:
    """The tables of a paper whose findings are numbers or classes; without the experiments that have not been run."""
    made = {"IterIT": [turnover, true_difficulty], "DoIT": [classes]}.get(paper, [])
    return [table for table in (make(results) for make in made) if table.rows]


def turnover(results: Path) -> Table:
    """The share of hard examples that were not hard a stage before."""
    rows = []
    for folder, scale in _TURNOVER.items():
        found = {r["name"]: r for r in _rows(results / folder)}
        for measure, said in (
            ("newly hard after the first stage", "after the first stage"),
            ("newly hard", "mean of all stages"),
        ):
            row = found.get(f"{_RESCORED}: {measure}")
            if row is not None:
                rows.append([f"[{scale}]({folder}/README.md)", said, _number(row)])
    note = (
        "Share of the examples that a stage would choose by complexity alone, everything scored again, that the stage "
        "before would not have chosen. The paper: 55 % after one epoch (its model and threshold are not known)."
    )
    return Table("turnover", "How many hard examples are new?", ["tested on", "when", "share, seeds"], rows, note)


def true_difficulty(results: Path) -> Table:
    """The metrics that follow true difficulty most closely, with and without length."""
    rows = []
    for folder, kind in _METRICS.items():
        by_source: dict[str, dict[str, dict[str, Any]]] = {}
        for row in _rows(results / folder):
            what, _, measure = str(row["name"]).partition(": ")
            source, _, metric = what.partition("/")
            by_source.setdefault(source, {}).setdefault(measure, {})[metric] = row
        for source, measured in by_source.items():
            raw, beyond = measured.get("rho", measured.get("auc", {})), measured.get("partial", {})
            unit, nothing = ("", 0.0) if "rho" in measured else ("AUC ", 0.5)
            cells = [_told(raw, "length_response", unit), _best(raw, unit, nothing)]
            cells += [_told(beyond, "ifd"), _best(beyond)]
            rows.append([f"[{source}]({folder}/README.md)", kind, *cells])
    note = (
        "Spearman's correlation with the known level or number of steps, or the area under the curve where there are "
        "two kinds; the strongest metric whatever its sign. Beyond length: the ranks of both lengths controlled for."
    )
    columns = ["true difficulty", "metrics", "words of the response", "strongest", "IFD beyond length",
               "strongest beyond length"]  # fmt: skip
    return Table("true_difficulty", "Which metric follows true difficulty?", columns, rows, note)


def classes(results: Path) -> Table:
    """How each ability grows with its rows."""
    rows = []
    for folder, scale in _STUDIES.items():
        path = results / folder / "fits.json"
        for fit in json.loads(path.read_text(encoding="utf-8")) if path.exists() else ():
            unit = "exact match" if fit["measure"] == "score" else "loss"
            slope = _number({**fit["slope"], "n": fit["num_seeds"]})
            rows.append([f"[{scale}]({folder}/README.md)", fit["ability"], unit, fit["growth_class"], slope])
    columns = ["tested on", "ability", "measure", "class", "gain per quadrupling of rows, seeds"]
    note = (
        "Classes by intervals, as the growth command assigns them. Planted: noise is resistant, echo saturated, and "
        "lookup grows."
    )
    return Table("classes", "Which abilities respond to volume?", columns, rows, note)


def _rows(folder: Path) -> list[dict[str, Any]]:
    path = folder / "results.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def _best(of: dict[str, dict[str, Any]], unit: str = "", nothing: float = 0.0) -> str:
    known = [m for m in of if math.isfinite(of[m]["value"])]
    strongest = max(known, key=lambda m: abs(of[m]["value"] - nothing), default="")
    return f"{strongest.replace('_', ' ')} {_told(of, strongest, unit)}"


def _told(of: dict[str, dict[str, Any]], metric: str, unit: str = "") -> str:
    row = of.get(metric)
    return "" if row is None else f"{unit}{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def _number(row: dict[str, Any]) -> str:
    interval = f" [{row['low']:.3g}, {row['high']:.3g}]" if "low" in row else ""
    return f"{row['value']:.3g}{interval}, {row.get('n', 1)}"
