"""What the papers claim, in our words, as paired differences between two rows of an experiment of this repository.

A paper's own number is given only where it was read in the full text; else it is ``not known``.
"""

from __future__ import annotations

from collections.abc import Collection

from experiments.benchmark_items import GENERATED
from experiments.campus_ablation import rows as campus_rows
from experiments.catalogue import Claim, described, merged
from experiments.iterit_ablation import rows as iterit_rows

_LOSS, _ACCURACY = "held-out loss", "accuracy"
_RANDOM, _TWENTIETH = iterit_rows.CONTROL, "a quarter of it a stage, four times the stages"


def _iterit(folder: str, rows: Collection[str], measure: str = _LOSS) -> list[Claim]:
    def claim(text: str, row: str, against: str, margin: float = 0.0) -> Claim:
        config = "iterit_within_abilities" if row == iterit_rows.WITHIN else "iterit"
        return Claim(
            paper="IterIT", text=text, folder=folder, row=row, against=against, measure=measure, margin=margin,
            lower_is_better=measure == _LOSS, config=f"configs/curriculum/{config}.yaml",
            cost="scored tokens over trained tokens",
        )  # fmt: skip

    claims = [
        claim("the selection beats random examples of equal number", "IterIT", _RANDOM),
        claim("the selection beats one random subset of equal size", "IterIT", "random, drawn once"),
        claim("scoring again for every stage beats scoring once", "IterIT", "scored once"),
        claim("novelty beside complexity helps", "IterIT", "complexity alone"),
        claim("novelty of responses beats that of instructions", "IterIT", "novelty of the instruction"),
        claim("the short list loses at most 0.05 against scoring everything", "IterIT", "everything re-scored", 0.05),
        claim("a chosen twentieth a stage loses at most 0.05 against as many of all data", _TWENTIETH, _RANDOM, 0.05),
        claim("the selection beats random examples of as many tokens", "IterIT", iterit_rows.AS_MANY_TOKENS),
        claim("chosen inside each ability (ours) it beats random examples", iterit_rows.WITHIN, _RANDOM),
    ]
    return [c for c in claims if {c.row, c.against} <= set(rows)]


def _campus(folder: str, rows: Collection[str]) -> list[Claim]:
    def claim(text: str, row: str, against: str, papers: str = "not known") -> Claim:
        return Claim(
            paper="CAMPUS", text=text, folder=folder, row=row, against=against, measure=_LOSS, lower_is_better=True,
            config="configs/curriculum/campus.yaml", cost="scored tokens over trained tokens", papers=papers,
        )  # fmt: skip

    # Averages of tables 1 and 2 (arXiv 2509.13790).
    beats_random = "average 38.16 against 36.49 (LLaMA), 20.34 against 18.34 (BLOOMZ)"
    beats_static = "average 38.16 against 36.57 and 34.83 for two static curricula of other kinds (LLaMA)"
    claims = [
        claim("the curriculum beats random order", "CAMPUS, three views", "random"),
        claim("the same with our learned scorer", "CAMPUS", "random", beats_random),
        claim("several views beat the order by length", "CAMPUS, three views", "static order by length", beats_static),
        claim("several views beat the order by MTLD", "CAMPUS, three views", "static order by MTLD", beats_static),
        claim("several views beat the order by loss", "CAMPUS, three views", "static order by loss", beats_static),
        claim("choosing among views beats length alone", "CAMPUS, three views", "length alone"),
        claim("choosing among views beats loss alone", "CAMPUS, three views", "loss alone"),
        claim("the least perplexing view beats a random one", "CAMPUS, three views", "three views, random choice"),
        claim("re-sorting by the current loss helps", "CAMPUS, three views", "three views, never re-sorted"),
        claim("re-sorting by loss and our learned scorer helps", "CAMPUS", "CAMPUS, never re-sorted"),
    ]
    return [c for c in claims if {c.row, c.against} <= set(rows)]


def _tapir(text: str, row: str, against: str) -> Claim:
    return Claim(
        paper="TAPIR", text=text, folder="tapir_ablation", row=row, against=against, measure=_ACCURACY,
        lower_is_better=False, config="configs/curriculum/tapir.yaml", cost="role calls",
        budget=("rows trained", "tokens trained"),
    )  # fmt: skip


def _growth(text: str, row: str, against: str, papers: str = "not known") -> Claim:
    return Claim(
        paper="DoIT", text=text, folder="growth_pace", row=row, against=against, measure="macro accuracy without noise",
        lower_is_better=False, config="configs/curriculum/growth_pace.yaml", cost="scored tokens", papers=papers,
        budget=("rows trained on",),
    )  # fmt: skip


CLAIMS = [
    *_iterit("iterit_ablation", iterit_rows.ROWS),
    *_iterit("iterit_ablation_real", [*iterit_rows.MAIN, iterit_rows.AS_MANY_TOKENS]),
    *_iterit("iterit_ablation_gemma", [*iterit_rows.FEW, iterit_rows.AS_MANY_TOKENS]),
    *(c for task in GENERATED for c in _iterit("iterit_benchmarks", iterit_rows.FEW, f"right answers, {task}")),
    # There MTLD is of responses, of which most have one value: an order by it is no static curriculum.
    *_campus("campus_ablation", set(campus_rows.ROWS) - {"static order by MTLD"}),
    *_campus("campus_ablation_views", campus_rows.VIEWS),
    *_campus("campus_ablation_long", campus_rows.LONG),
    *_campus("campus_ablation_real", campus_rows.MAIN),
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
    *(claim for claims in described("CLAIMS").values() for claim in claims),
]
SCALES = {
    "iterit_ablation": "generated abilities, tiny model from random weights",
    "iterit_ablation_real": "short real rows, SmolLM2-135M",
    "iterit_ablation_gemma": "short real rows, Gemma 3 270M (base)",
    "iterit_benchmarks": "answers to benchmarks, SmolLM2-135M after short real rows",
    "campus_ablation": "generated abilities, tiny model from random weights",
    "campus_ablation_views": "generated abilities, views of instruction and response",
    "campus_ablation_long": "generated abilities, three times the budget",
    "campus_ablation_real": "short real rows, SmolLM2-135M",
    "tapir_ablation": "generated abilities, rules as teacher and judge",
    "growth_pace": "generated abilities, tiny model from random weights",
    "growth_study": "generated abilities, tiny model from random weights",
    "true_difficulty": "SmolLM2-135M on short real rows, a tiny model on generated abilities",
    **merged("SCALES"),
}
"""Folder of results -> what its claims were tested on."""
