"""What a budgeted refresh saves and gives up: its choice beside that of a full refresh with the same weights.

python -m experiments.benchmarks.refresh --out DIR [--seeds N] [--quick]

The hardest 30 % by loss are trained on, from random weights and at a learning rate that falls to zero: scores drift
fast in the first stages and hardly in the last. After every refresh all examples are scored, out of the run's sight.
"stated" and "measured" are what the policy logged (not where it logged nothing), "found" what the full scores say.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from scipy.stats import spearmanr

from experiments.ablation import CellLog, Measures, compare
from experiments.common import print_rows, write_results
from experiments.embedded import embedded_run
from lit_curriculum import (
    BudgetedRefresh,
    CurriculumCallback,
    CurriculumObserver,
    NegativeLogLikelihood,
    OrderedPolicy,
    ScoringEngine,
    StageReport,
)
from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.utils.eval_mode import evaluation_mode

FRACTION = 0.3
CHOICES = {
    "confidence 0.95": (0.95, None), "confidence 0.80": (0.8, None), "confidence 0.50": (0.5, None),
    "at most half scored": (0.95, 0.5), "at most a quarter scored": (0.95, 0.25),
}  # fmt: skip
"""Row -> share of single changes that counts as possible, and share of the examples that is scored at most."""
CONTROL = "confidence 0.95"
FIRST = 2
"""The first stage at which anything can be saved."""
PHASES = ("first third", "second third", "last third")
MEASURES = {
    "candidates not scored": "share", "wrong choices, stated at most": "share of the stage",
    "wrong choices, found": "share of the stage", "more found than stated": "share of the refreshes",
    "wrong among checked, measured": "share", "rank correlation with a full refresh": "",
}  # fmt: skip
UNITS = {f"{measure}, {phase} of the stages": unit for measure, unit in MEASURES.items() for phase in PHASES}


class Truth(Callback, CurriculumObserver):
    """Scores everything after a refresh and compares."""

    def __init__(self) -> None:
        self.found: list[Measures] = []

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        if report.stage < FIRST:
            return
        store, module = trainer.datamodule.train_store, trainer.lightning_module  # type: ignore[attr-defined]
        with evaluation_mode(module):
            engine = ScoringEngine({"loss": NegativeLogLikelihood()})
            true = engine.score(module, store, np.arange(len(store))).values["loss"]  # type: ignore[arg-type]
        plan, scores = report.plan, report.table.scores["loss"]
        size, logged = len(plan), plan.scalars
        wrong = float((true[plan.indices] < np.sort(true)[-size]).mean())
        at_most = logged["refresh_errors_at_most"] / size
        found = {
            "candidates not scored": logged["refresh_saved"],
            "wrong choices, stated at most": at_most,
            "wrong choices, found": wrong,
            "more found than stated": float(wrong > at_most),
            "rank correlation with a full refresh": float(spearmanr(scores, true).statistic),
        }
        if "refresh_measured_error" in logged:
            found["wrong among checked, measured"] = logged["refresh_measured_error"]
        self.found.append(found)


def run_cell(row: str, seed: int, examples: int, stages: int) -> Measures:
    """One training run; means over the refreshes of each third of its stages from stage 2 on."""
    policy: CurriculumPolicy = OrderedPolicy("loss", direction="hard_to_easy", fraction=FRACTION, rescore="each_stage")
    confidence, most = CHOICES[row]
    count = None if most is None else round(most * examples)
    policy = BudgetedRefresh(policy, "loss", confidence=confidence, max_count=count)
    with tempfile.TemporaryDirectory() as folder:
        truth = Truth()
        ours = CurriculumCallback(policy, {"loss": NegativeLogLikelihood()}, seed=seed)
        cli = embedded_run(folder, seed, examples, stages, [ours, truth])
        cli.trainer.fit(cli.model, cli.datamodule)
    parts = np.array_split(np.arange(len(truth.found)), len(PHASES))
    means: Measures = {}
    for measure in MEASURES:
        for phase, part in zip(PHASES, parts, strict=True):
            values = [truth.found[i][measure] for i in part if measure in truth.found[i]]
            if values:
                means[f"{measure}, {phase} of the stages"] = float(np.mean(values))
    return means


def main() -> None:
    """Run the cells that are missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/budgeted_refresh"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--stages", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="200 examples, five stages, two seeds")
    given = parser.parse_args()
    examples, stages, seeds = (200, 5, 2) if given.quick else (given.examples, given.stages, given.seeds)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="lightning")
    config = {"examples": examples, "stages": stages, "fraction": FRACTION, "model": "model/tiny"}
    log = CellLog(given.out / "cells.jsonl", config)
    rows = list(CHOICES)
    log.run(rows, range(seeds), lambda row, seed: run_cell(row, seed, examples, stages), 0, 1)
    table = compare(log.found, rows, CONTROL, UNITS)
    write_results(given.out, table, {**config, "seeds": seeds, "control": CONTROL})
    print_rows(table)


if __name__ == "__main__":
    main()
