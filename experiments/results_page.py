"""The papers' claims and our verdicts as one HTML page that opens without a network."""

from __future__ import annotations

import base64
from collections import Counter
from pathlib import Path

from experiments.claims import CLAIMS, SCALES, Claim
from experiments.verdicts import Finding, difference, judge
from lit_curriculum.report.page import render
from lit_curriculum.report.tables import Table

_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
_SAID = {"holds": "hold", "does not hold": "do not hold", "not detectable here": "are not detectable here"}
_NOTE = (
    "Differences of the row that the claim favours minus the other, measured on the same held-out items and paired by "
    "seed, with 95 % t intervals and the number of seeds; then what the row was trained on over what the other was. A "
    "claim holds or does not hold where the interval lies on one side of zero (of the margin, where the claim names "
    "one) and the false discovery rate over all claims is at most 5 %."
)


def paper_table(paper: str, findings: list[tuple[Claim, Finding]]) -> tuple[Table, Counter[str]]:
    """The claims of a paper that were tested, and how many of them got which verdict."""
    rows, verdicts = [], Counter[str]()
    for claim, found in findings:
        verdicts[found.verdict] += 1
        if found.verdict != "not run":
            rows.append([claim.text, claim.papers, SCALES[claim.folder], difference(claim, found), found.verdict])
    columns = ["claim", "the paper", "tested on", "ours: difference, seeds; budget over the other's", "verdict"]
    return Table(paper.lower(), "Claims", columns, rows, _NOTE), verdicts


def figures(paper: str, results: Path) -> list[dict[str, str]]:
    """Figures of the experiments that test a paper's claims."""
    shown = []
    for folder in dict.fromkeys(c.folder for c in CLAIMS if c.paper == paper):
        for path in sorted((results / folder).glob("*")):
            if path.suffix in _TYPES:
                coded = base64.b64encode(path.read_bytes()).decode("ascii")
                caption = f"{SCALES[folder]}: {path.stem.replace('_', ' ')}"
                shown.append({"uri": f"data:{_TYPES[path.suffix]};base64,{coded}", "caption": caption})
    return shown


def write(results: Path) -> Path:
    """Write ``report.html`` into ``results`` from the files below it; returns its path."""
    groups = []
    judged = list(zip(CLAIMS, judge(CLAIMS, results), strict=True))
    for paper in dict.fromkeys(c.paper for c in CLAIMS):
        table, verdicts = paper_table(paper, [(c, found) for c, found in judged if c.paper == paper])
        tested = verdicts.total() - verdicts["not run"]
        counts = ", ".join(f"{verdicts[v]} {said}" for v, said in _SAID.items())
        said = f"{paper}: {tested} tests of its claims, of which {counts}; {verdicts['not run']} not run."
        parts = {"tables": [table], "figures": figures(paper, results)}
        groups.append({"title": paper, "verdict": said, **parts})
    small = "Small models, small data: nothing here speaks of models of billions of weights."
    text = render("Do the papers' claims hold at this scale?", groups, [small], "Made from the files beside this page.")
    path = results / "report.html"
    path.write_text(text, encoding="utf-8")
    return path
