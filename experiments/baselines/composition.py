"""What selections are made of: planted noise, copies, levels and lengths, for every row of selection and five seeds.

python -m experiments.baselines.composition --out DIR [--seeds N]

One model a seed is trained on all data in random order, as in the common first stages of ``experiments.baselines.run``;
then every method chooses once, by that model's scores. Nothing is trained on what was chosen, so this is cheap, and
says nothing of what a choice is good for.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import datasets
import numpy as np
from jsonargparse import ArgumentParser

from experiments.ablation import CellLog, Measures, compare
from experiments.baselines.method import RANDOM, Method, Setting
from experiments.baselines.rows_selection import ROWS
from experiments.baselines.run import configured, make_proxy
from experiments.common import print_rows, write_results
from lit_curriculum import CurriculumCallback, StagePlanner, UniformPolicy, WarmStartPolicy
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.loop.scoring import ModelScorer, update_metric
from lit_curriculum.types import CONDITIONED
from lit_curriculum.utils.progress import no_display

UNITS = {
    "share of planted noise": "share",
    "share of copies": "share",
    "mean planted level": "level",
    "mean length": "tokens",
    "abilities missing": "abilities",
    "seconds to score and choose": "s",
}


def parts_of(method: Method, setting: Setting, proxy: Path) -> CurriculumCallback:
    """The policy and the metrics of a row."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(CurriculumCallback, "curriculum")
    found = parser.instantiate_classes(parser.parse_object({"curriculum": method.block(setting, proxy)}))
    curriculum: CurriculumCallback = found.curriculum
    return curriculum


def choose(method: Method, cli: CurriculumCLI, seed: int, setting: Setting, proxy: Path) -> Measures:
    """Let one row choose by the scores of the trained model of ``cli``."""
    started = time.perf_counter()
    curriculum, store, stage = parts_of(method, setting, proxy), cli.datamodule.train_store, setting.warm_stages
    scorer = ModelScorer(curriculum.metrics, "device", "none")
    scorer.run = f"composition-{os.getpid()}"
    planner = StagePlanner(WarmStartPolicy(UniformPolicy(), curriculum.policy, stage), curriculum.metrics, seed)
    planner.setup(store, stage + setting.stages)
    planner.score_texts()
    update = partial(update_metric, cli.model, store, planner.table, no_display)
    plan = planner.plan(stage, partial(scorer.score, cli.trainer, cli.model, store), update).plan
    chosen = [store[int(i)] for i in plan.indices]
    return {
        "share of planted noise": float(np.mean([e.meta["is_noise"] for e in chosen])),
        "share of copies": 1.0 - len({e.content_hash for e in chosen}) / len(chosen),
        "mean planted level": float(np.mean([e.meta["level"] for e in chosen])),
        "mean length": float(store.lengths(CONDITIONED)[plan.indices].mean()),
        "abilities missing": float(len(set(store.abilities) - {e.ability for e in chosen})),
        "seconds to score and choose": time.perf_counter() - started,
    }


def run_seed(log: CellLog, seed: int, setting: Setting, scratch: Path) -> None:
    """All rows of one seed that are not there yet."""
    missing = [m for m in ROWS if (m.name, seed) not in log.found]
    if not missing:
        return
    proxy = make_proxy(scratch / f"proxy-{seed}", seed, setting)
    options = ["--trainer.callbacks=[]", f"--trainer.max_epochs={setting.warm_stages}"]
    cli = configured([*options, f"--trainer.default_root_dir={scratch}"], seed, setting)
    cli.trainer.fit(cli.model, cli.datamodule)
    for method in missing:
        log.add(method.name, seed, choose(method, cli, seed, setting, proxy))


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/baselines_composition"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="little data, two seeds")
    given = parser.parse_args()
    setting = Setting(examples=120, warm_stages=1, held_out=4) if given.quick else Setting()
    warnings.filterwarnings("ignore")
    for logger in ("lightning.pytorch", "lightning.fabric", "lit_curriculum"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    config = {
        "examples": setting.examples, "batch_size": setting.batch_size, "passes": setting.warm_stages,
        "fraction": setting.fraction, "noise_share": 0.1, "duplicate_share": 0.1, "model": "model/tiny",
    }  # fmt: skip
    log = CellLog(given.out / "cells.jsonl", config)
    seeds = 2 if given.quick else given.seeds
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["LIT_CURRICULUM_CACHE"] = scratch
        for seed in range(seeds):
            run_seed(log, seed, setting, Path(scratch))
            print(f"seed {seed} is done", flush=True)
    table = compare(log.found, [m.name for m in ROWS], RANDOM["selection"], UNITS)
    write_results(given.out, table, {**config, "seeds": seeds, "control": RANDOM["selection"]})
    print_rows(table)


if __name__ == "__main__":
    main()
