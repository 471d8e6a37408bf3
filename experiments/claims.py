"""What the papers claim, in our words, and what our runs say to it: holds, does not, or cannot be told here.

A paper's number stands here only where a reader of the full text has given it; else the column says that it is not
known. Each claim is a paired difference between two rows of an experiment that this repository runs.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import stats

RESULTS = Path(__file__).parents[1] / "results"
Verdict = Literal["holds", "does not hold", "not detectable here", "not run"]
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim as a difference: ``row`` minus ``against`` in ``measure``, seed by seed."""

    paper: str
    text: str
    folder: str
    """Folder of results with ``cells.jsonl``."""
    row: str
    against: str
    measure: str
    lower_is_better: bool
    config: str
    """The configuration to read, from the top of the repository."""
    cost: str | None = None
    """Measure of the row that says what it costs."""
    papers: str = "not known"
    """The paper's own number."""


@dataclass(frozen=True)
class Finding:
    """What the runs say."""

    verdict: Verdict
    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    pairs: int = 0
    cost: float = float("nan")


_IterIT, _CAMPUS, _TAPIR, _DoIT = "iterit.yaml", "campus.yaml", "tapir.yaml", "growth_pace.yaml"
_LOSS, _ACCURACY = "held-out loss", "accuracy"


def _iterit(folder: str) -> list[Claim]:
    def claim(text: str, row: str, against: str) -> Claim:
        return Claim(
            paper="IterIT", text=text, folder=folder, row=row, against=against, measure=_LOSS, lower_is_better=True,
            config=f"configs/curriculum/{_IterIT}", cost="scored tokens over trained tokens",
        )  # fmt: skip

    return [
        claim("the selection beats random examples of equal number", "IterIT", "random, fresh each stage"),
        claim("the selection beats one random subset of equal size", "IterIT", "random, drawn once"),
        claim("scoring again for every stage beats scoring once", "IterIT", "scored once"),
        claim("novelty beside complexity helps", "IterIT", "complexity alone"),
        claim("novelty of responses beats that of instructions", "IterIT", "novelty of the instruction"),
        claim("the short list loses nothing against scoring everything", "IterIT", "everything re-scored"),
    ]


def _campus(folder: str) -> list[Claim]:
    def claim(text: str, row: str, against: str, papers: str = "not known") -> Claim:
        return Claim(
            paper="CAMPUS", text=text, folder=folder, row=row, against=against, measure=_LOSS, lower_is_better=True,
            config=f"configs/curriculum/{_CAMPUS}", cost="scored tokens over trained tokens", papers=papers,
        )  # fmt: skip

    # Averages of tables 1 and 2 (arXiv 2509.13790).
    beats_random = "average 38.16 against 36.49 (LLaMA), 20.34 against 18.34 (BLOOMZ)"
    beats_static = "average 38.16 against 36.57 and 34.83 for two static curricula of other kinds (LLaMA)"
    return [
        claim("the curriculum beats random order", "CAMPUS, three views", "random"),
        claim("the same with our learned scorer", "CAMPUS", "random", beats_random),
        claim("several views beat the order by length", "CAMPUS, three views", "static order by length", beats_static),
        claim("several views beat the order by loss", "CAMPUS, three views", "static order by loss", beats_static),
        claim("the least perplexing view beats a random one", "CAMPUS, three views", "three views, random choice"),
        claim("re-sorting by the current loss helps", "CAMPUS, three views", "three views, never re-sorted"),
    ]


def _tapir(text: str, row: str, against: str) -> Claim:
    return Claim(
        paper="TAPIR", text=text, folder="tapir_ablation", row=row, against=against, measure=_ACCURACY,
        lower_is_better=False, config=f"configs/curriculum/{_TAPIR}", cost="role calls",
    )  # fmt: skip


def _growth(text: str, row: str, against: str, papers: str = "not known") -> Claim:
    return Claim(
        paper="DoIT", text=text, folder="growth_pace", row=row, against=against, measure="macro accuracy without noise",
        lower_is_better=False, config=f"configs/curriculum/{_DoIT}", cost="scored tokens", papers=papers,
    )  # fmt: skip


CLAIMS = [
    *_iterit("iterit_ablation"),
    *_iterit("iterit_ablation_real"),
    *_campus("campus_ablation"),
    *_campus("campus_ablation_long"),
    *_campus("campus_ablation_real"),
    _tapir("distillation by rounds beats training on the raw data", "M", "raw"),
    _tapir("judged difficulty beats random seeds", "M", "no MFD"),
    _tapir("a rising share of hard examples beats a constant one", "M", "constant alpha"),
    _tapir("several rounds beat one", "M", "S"),
    _tapir("target ratios of tasks and refined answers help", "M", "no task"),
    _tapir("writing new instructions helps", "M", "no expansion"),
    _growth("a mixture that follows growth (ours) beats uniform order", "growth_pace", "uniform"),
    _growth(
        "the reconstructed mixture beats uniform order",
        "reconstruct",
        "uniform",
        # Version 1, table 2 (arXiv 2310.19651).
        "AGIEval without examples +4.23, +0.79, +0.42 points after 5, 10, 15 epochs (7B)",
    ),
]
SCALES = {
    "iterit_ablation": "generated abilities, tiny model from random weights",
    "iterit_ablation_real": "short real rows, SmolLM2-135M",
    "campus_ablation": "generated abilities, tiny model from random weights",
    "campus_ablation_long": "generated abilities, three times the budget",
    "campus_ablation_real": "short real rows, SmolLM2-135M",
    "tapir_ablation": "generated abilities, rules as teacher and judge",
    "growth_pace": "generated abilities, tiny model from random weights",
}


def judge(claim: Claim, results: Path) -> Finding:
    """Compare the claim's two rows over the seeds that both have."""
    path = results / claim.folder / "cells.jsonl"
    if not path.exists():
        return Finding("not run")
    cells: dict[str, dict[int, dict[str, Any]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        entry = json.loads(line)
        cells.setdefault(entry["row"], {})[entry["seed"]] = entry["measures"]
    mine, other = cells.get(claim.row, {}), cells.get(claim.against, {})
    seeds = sorted(s for s in set(mine) & set(other) if claim.measure in mine[s] and claim.measure in other[s])
    if len(seeds) < 2:
        return Finding("not run")
    d = np.array([mine[s][claim.measure] - other[s][claim.measure] for s in seeds])
    half = float(stats.sem(d)) * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(d) - 1))
    low, high = float(d.mean()) - half, float(d.mean()) + half
    better, worse = (high < 0, low > 0) if claim.lower_is_better else (low > 0, high < 0)
    verdict: Verdict = "holds" if better else "does not hold" if worse else "not detectable here"
    costs = [mine[s][claim.cost] for s in seeds if claim.cost is not None and claim.cost in mine[s]]
    return Finding(verdict, float(d.mean()), low, high, len(d), float(np.mean(costs)) if costs else float("nan"))


def render(results: Path) -> list[str]:
    """One Markdown table a paper; claims without a run are named below it."""
    lines: list[str] = []
    for paper in dict.fromkeys(c.paper for c in CLAIMS):
        own = [(c, judge(c, results)) for c in CLAIMS if c.paper == paper]
        lines += [f"### {paper}", ""]
        lines += ["| claim | the paper | tested on | ours: difference [95 % interval], seeds | verdict | cost |"]
        lines += ["| --- | --- | --- | --- | --- | --- |"]
        for claim, found in own:
            if found.verdict == "not run":
                continue
            unit = "" if claim.cost is None else f"{found.cost:.3g} {claim.cost}"
            where = f"[{SCALES[claim.folder]}]({claim.folder}/README.md)"
            lines.append(
                f"| [{claim.text}](../{claim.config}) | {claim.papers} | {where} | "
                f"{claim.measure} {found.value:+.3g} [{found.low:+.3g}, {found.high:+.3g}], {found.pairs} | "
                f"{found.verdict} | {unit if np.isfinite(found.cost) else ''} |"
            )
        missing = Counter(SCALES[c.folder] for c, f in own if f.verdict == "not run")
        counts = "; ".join(f"{count} of these claims on {scale}" for scale, count in missing.items())
        lines += ["", *([f"Not run: {counts}.", ""] if missing else [])]
    return lines
