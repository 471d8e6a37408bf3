"""The papers' claims and our verdicts as one HTML page that opens without a network."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from experiments import descriptions
from experiments.claims import CLAIMS, SCALES, Claim
from experiments.verdicts import Finding, by_paper, cost, count, difference
from lit_curriculum.report.page import render
from lit_curriculum.report.tables import Table

_LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
_NOTE = (
    "Differences of the row that the claim favours minus the other, measured on the same held-out items and paired by "
    "seed, with 95 % t intervals and the number of seeds; then what the row was trained on over what the other was. A "
    "claim holds or does not hold where the interval lies on one side of zero (of the margin, where the claim names "
    "one) and the false discovery rate over all claims is at most 5 %."
)


def paper_table(paper: str, findings: Sequence[tuple[Claim, Finding]]) -> Table:
    """The claims of a paper that were tested."""
    rows = [
        [claim.text, found.verdict, difference(claim, found), claim.papers, SCALES[claim.folder], cost(claim, found)]
        for claim, found in findings
        if found.verdict != "not run"
    ]
    columns = ["claim", "verdict", "ours: difference, seeds; budget over the other's", "the paper", "tested on", "cost"]
    return Table(paper.lower(), "Claims", columns, rows, _NOTE)


def _plain(table: Table) -> Table:
    """Links of Markdown become their text."""
    return replace(table, rows=[[_LINK.sub(r"\1", cell) for cell in row] for row in table.rows])


def figures(paper: str, results: Path) -> list[dict[str, str]]:
    """Figures of the experiments that test a paper's claims."""
    shown = []
    for folder in dict.fromkeys(
        [*(c.folder for c in CLAIMS if c.paper == paper), *descriptions.FIGURES.get(paper, ())]
    ):
        for path in sorted((results / folder).glob("*")):
            if path.suffix in _TYPES:
                coded = base64.b64encode(path.read_bytes()).decode("ascii")
                caption = f"{SCALES[folder]}: {path.stem.replace('_', ' ')}"
                shown.append({"uri": f"data:{_TYPES[path.suffix]};base64,{coded}", "caption": caption})
    return shown


def write(results: Path) -> Path:
    """Write ``report.html`` into ``results`` from the files below it; returns its path."""
    groups = []
    for paper, findings in by_paper(results).items():
        table, said = paper_table(paper, findings), count(paper, findings)
        shown = [table, *map(_plain, descriptions.tables(paper, results))]
        groups.append({"title": paper, "verdict": said, "tables": shown, "figures": figures(paper, results)})
    small = "Small models, small data: nothing here speaks of models of billions of weights."
    text = render("Do the papers' claims hold at this scale?", groups, [small], "Made from the files beside this page.")
    path = results / "report.html"
    path.write_text(text, encoding="utf-8")
    return path
