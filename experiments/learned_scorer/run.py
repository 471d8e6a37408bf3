"""How well learned scorers predict the loss of examples they were not shown, and what they cost.

python -m experiments.learned_scorer.run --out DIR [--seeds N] [--quick]
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
    CurriculumCallback,
    CurriculumObserver,
    HashedNgrams,
    HiddenStates,
    LearnedScorer,
    NegativeLogLikelihood,
    Pairwise,
    Reweighting,
    ScoringEngine,
    StageReport,
    UniformPolicy,
)
from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.utils.eval_mode import evaluation_mode

SHOWN = 128
CONTROL = "reweighting, n-grams"
UNITS = {
    "agreement on unseen examples": "rank correlation", "agreement before the update": "rank correlation",
    "agreement within abilities": "rank correlation",
    "update and full re-score": "s", "measuring all losses": "s", "tokens through the model": "tokens",
    "tokens of measuring all losses": "tokens",
}  # fmt: skip


def scorers() -> dict[str, LearnedScorer]:
    """What is compared."""
    return {
        CONTROL: LearnedScorer(Reweighting(num_losses=SHOWN)),
        "reweighting with sigmoid, n-grams": LearnedScorer(Reweighting("sigmoid", num_losses=SHOWN)),
        "reweighting, hidden layer, n-grams": LearnedScorer(Reweighting(num_losses=SHOWN), hidden=32),
        "reweighting, hidden states": LearnedScorer(Reweighting(num_losses=SHOWN), HiddenStates()),
        "pairwise gap, n-grams": LearnedScorer(Pairwise(num_answers=SHOWN, max_new_tokens=16)),
        "pairwise own answer, n-grams": LearnedScorer(Pairwise("own_answer", num_answers=SHOWN, max_new_tokens=16)),
        "pairwise reference, n-grams": LearnedScorer(Pairwise("reference", num_answers=SHOWN, max_new_tokens=16)),
        "pairwise gap of drawn answers, n-grams": LearnedScorer(
            Pairwise(num_answers=SHOWN, max_new_tokens=16, temperature=1.0)
        ),
        "pairwise gap, all answered, n-grams": LearnedScorer(Pairwise(num_answers=None, max_new_tokens=16)),
        "pairwise gap, hidden states": LearnedScorer(
            Pairwise(num_answers=SHOWN, max_new_tokens=16), HiddenStates()
        ),
        "pairwise gap, n-grams of one token": LearnedScorer(
            Pairwise(num_answers=SHOWN, max_new_tokens=16), HashedNgrams(max_ngram=1)
        ),
    }  # fmt: skip


class Truth(Callback, CurriculumObserver):
    """The true losses after every refresh but the first, beside the scores."""

    def __init__(self, names: list[str]) -> None:
        self.found: dict[str, list[Measures]] = {name: [] for name in names}

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        if report.stage == 0:
            return  # a model of random weights finds everything equally hard
        store, module = trainer.datamodule.train_store, trainer.lightning_module  # type: ignore[attr-defined]
        with evaluation_mode(module):
            true = ScoringEngine({"loss": NegativeLogLikelihood()}).score(module, store, np.arange(len(store)))  # type: ignore[arg-type]
        unseen = np.setdiff1d(np.arange(len(store)), report.candidates)
        abilities = np.array([str(a) for a in store.abilities])[unseen]
        for name, stages in self.found.items():
            scores, logged = report.table.scores[name], report.learning.scalars
            pair = scores[unseen], true.values["loss"][unseen]
            within = [spearmanr(*(v[abilities == a] for v in pair)).statistic for a in sorted(set(abilities.tolist()))]
            stages.append(
                {
                    "agreement on unseen examples": float(spearmanr(*pair).statistic),
                    "agreement within abilities": float(np.nanmean(within)),
                    "agreement before the update": logged.get(f"{name}/agreement_before", float("nan")),
                    "update and full re-score": logged[f"{name}/seconds"],
                    "measuring all losses": true.seconds,
                    "tokens through the model": logged[f"{name}/forward_tokens"] + logged[f"{name}/generated_tokens"],
                    "tokens of measuring all losses": float(true.tokens),
                }
            )


def run_seed(seed: int, examples: int, stages: int) -> dict[str, Measures]:
    """One training run with all scorers; means over its refreshes."""
    learned = scorers()
    with tempfile.TemporaryDirectory() as folder:
        truth = Truth(list(learned))
        metrics: dict[str, DifficultyMetric] = {"loss": NegativeLogLikelihood(), **learned}
        ours = CurriculumCallback(UniformPolicy(), metrics, seed=seed)
        cli = embedded_run(folder, seed, examples, stages, [ours, truth])
        cli.trainer.fit(cli.model, cli.datamodule)
    return {name: {m: float(np.nanmean([s[m] for s in found])) for m in UNITS} for name, found in truth.found.items()}


def main() -> None:
    """Run the seeds that are missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/learned_scorer"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=600)
    parser.add_argument("--stages", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="200 examples, two stages, two seeds")
    given = parser.parse_args()
    examples, stages, seeds = (200, 2, 2) if given.quick else (given.examples, given.stages, given.seeds)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="lightning")
    config = {"examples": examples, "stages": stages, "losses shown": SHOWN, "model": "model/tiny"}
    log = CellLog(given.out / "cells.jsonl", config)
    rows = list(scorers())
    for seed in range(seeds):
        if all((row, seed) in log.found for row in rows):
            continue
        for row, measures in run_seed(seed, examples, stages).items():
            log.add(row, seed, measures)
    table = compare(log.found, rows, CONTROL, UNITS)
    write_results(given.out, table, {**config, "seeds": seeds, "control": CONTROL})
    print_rows(table)


if __name__ == "__main__":
    main()
