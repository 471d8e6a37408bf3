"""Verdicts of our runs on the papers' claims: holds, does not hold, or not detectable here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from scipy import stats

from experiments import descriptions
from experiments.ablation import Measures, read_cells
from experiments.claims import CLAIMS, SCALES, Claim

Verdict = Literal["holds", "does not hold", "not detectable here", "not run"]
RESULTS = Path(__file__).parents[1] / "results"
CONFIDENCE = 0.95
_BUDGETS = {
    "examples trained": "examples",
    "rows trained": "examples",
    "rows trained on": "examples",
    "trained tokens": "tokens",
    "tokens trained": "tokens",
}
_HEAD = (
    "| claim | verdict (false discovery rate) | ours: difference [95 % interval], seeds; budget over the other's "
    "| the paper | tested on | cost |"
)


@dataclass(frozen=True)
class Finding:
    """What the runs say."""

    verdict: Verdict
    rate: float = float("nan")
    """False discovery rate over all claims that were run (Benjamini and Hochberg)."""
    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    pairs: int = 0
    budgets: tuple[float, ...] = ()
    """Of every measure of the budget, the row's over the other's."""
    cost: float = float("nan")


def judge(claims: Sequence[Claim], results: Path) -> list[Finding]:
    """Compare the two rows of every claim over the seeds that both have.

    A verdict asks for a false discovery rate of 5 % over all of ``claims`` that were run.
    """
    compared = [_compare(claim, results) for claim in claims]
    run = [k for k, (found, _) in enumerate(compared) if found.verdict != "not run"]
    rates: Sequence[float] = stats.false_discovery_control([compared[k][1] for k in run]) if run else []
    findings = [found for found, _ in compared]
    for k, rate in zip(run, rates, strict=True):
        verdict = findings[k].verdict if rate <= 1 - CONFIDENCE else "not detectable here"
        findings[k] = replace(findings[k], rate=float(rate), verdict=verdict)
    return findings


def _compare(claim: Claim, results: Path) -> tuple[Finding, float]:
    """The finding from the claim's two rows alone, and the probability of the paired t test."""
    cells = _cells(results / claim.folder / "cells.jsonl")
    mine, other = cells.get(claim.row, {}), cells.get(claim.against, {})
    seeds = sorted(s for s in set(mine) & set(other) if claim.measure in mine[s] and claim.measure in other[s])
    if len(seeds) < 2:
        return Finding("not run"), math.nan
    d = np.array([mine[s][claim.measure] - other[s][claim.measure] for s in seeds])

    def mean(of: dict[int, Measures], measure: str | None) -> float:
        values = [of[s][measure] for s in seeds if measure is not None and measure in of[s]]
        return float(np.mean(values)) if values else math.nan

    budgets = tuple(mean(mine, m) / mean(other, m) for m in claim.budget)
    cost = mean(mine, claim.cost)
    value = float(d.mean())
    if np.ptp(d) == 0:
        # A t test has nothing to go by where all seeds differ by the same.
        return Finding("not detectable here", math.nan, value, value, value, len(d), budgets, cost), 1.0
    limit = claim.margin if claim.lower_is_better else -claim.margin
    test = stats.ttest_1samp(d, limit)
    low, high = (float(end) for end in test.confidence_interval(CONFIDENCE))
    better, worse = (high < limit, low > limit) if claim.lower_is_better else (low > limit, high < limit)
    verdict: Verdict = "holds" if better else "does not hold" if worse else "not detectable here"
    return Finding(verdict, math.nan, value, low, high, len(d), budgets, cost), float(test.pvalue)


def _cells(path: Path) -> dict[str, dict[int, Measures]]:
    """Row -> seed -> measures; empty where there is no file."""
    cells: dict[str, dict[int, Measures]] = {}
    for (row, seed), measures in read_cells(path).items():
        cells.setdefault(row, {})[seed] = measures
    return cells


def difference(claim: Claim, found: Finding) -> str:
    """The finding's number with its interval, and what it was run on beside the other row."""
    ratios = [f"{_BUDGETS[m]} {r:.2f}" for m, r in zip(claim.budget, found.budgets, strict=True) if math.isfinite(r)]
    number = f"{claim.measure} {found.value:+.3g} [{found.low:+.3g}, {found.high:+.3g}], {found.pairs}"
    return "; ".join([number, *([", ".join(ratios)] if ratios else [])])


def cost(claim: Claim, found: Finding) -> str:
    """What the row costs, in its experiment's own measure."""
    return f"{found.cost:.3g} {claim.cost}" if math.isfinite(found.cost) else ""


def by_paper(results: Path) -> dict[str, list[tuple[Claim, Finding]]]:
    """Every claim with what our runs say, judged together."""
    judged: dict[str, list[tuple[Claim, Finding]]] = {}
    for claim, found in zip(CLAIMS, judge(CLAIMS, results), strict=True):
        judged.setdefault(claim.paper, []).append((claim, found))
    return judged


def count(paper: str, findings: Sequence[tuple[Claim, Finding]]) -> str:
    """How a paper's claims fared, in a sentence."""
    verdicts = Counter(found.verdict for _, found in findings)
    tested = verdicts.total() - verdicts["not run"]
    counts = ", ".join(f"{verdict}: {verdicts[verdict]}" for verdict in get_args(Verdict) if verdicts[verdict])
    return f"{paper}, {tested} tests of its claims. {counts[0].upper()}{counts[1:]}."


def render(results: Path) -> list[str]:
    """A paper's claims as a Markdown table, those without a run named below it, then what is no claim."""
    judged = by_paper(results)
    lines = [*(f"- {count(paper, own)}" for paper, own in judged.items()), ""]
    for paper, own in judged.items():
        lines += [f"### {paper}", ""]
        lines += [_HEAD, "| --- | --- | --- | --- | --- | --- |"]
        for claim, found in own:
            if found.verdict == "not run":
                continue
            where = f"[{SCALES[claim.folder]}]({claim.folder}/README.md)"
            lines.append(
                f"| [{claim.text}](../{claim.config}) | {found.verdict} ({found.rate:.2g}) | "
                f"{difference(claim, found)} | {claim.papers} | {where} | {cost(claim, found)} |"
            )
        missing = Counter(SCALES[c.folder] for c, f in own if f.verdict == "not run")
        counts = "; ".join(f"{count} of these claims on {scale}" for scale, count in missing.items())
        lines += ["", *([f"Not run: {counts}.", ""] if missing else [])]
        lines += [f"#{table.markdown()}" for table in descriptions.tables(paper, results)]
    return lines
