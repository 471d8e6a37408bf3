"""IterIT's ablations at equal number of examples trained on, against random examples drawn again for each stage.

With a pretrained model there is also a row of random examples of as many tokens as IterIT's.

python -m experiments.iterit_ablation.run --out DIR [--profile abilities | (real | gemma) --data FOLDER] [--seeds N]
    [--eval FOLDER [--tasks TASK ...] [--items N]] [--shard I/N] [--rows NAME ...] [--quick]

A cell is a row with a seed, which decides on data and order; initial weights are the same in all cells. Cells are kept
in DIR/cells.jsonl as they end: rerun the same command to resume; several processes share the work by
--shard 0/2 and --shard 1/2. A model from random weights is first taken through a few passes in random order, the same
in all rows, so that its scores mean something. Where everything is re-scored, the turnover of hard examples is
measured: the share of the K highest complexities below 1 that were not among them one stage before.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import datasets

from experiments.ablation import CellLog, Measures, compare, forest
from experiments.benchmark_items import FILES, GENERATED, Elsewhere
from experiments.campus_ablation import profiles
from experiments.campus_ablation.real_rows import files
from experiments.campus_ablation.run import Cost, held_out
from experiments.common import print_rows, write_results
from experiments.iterit_ablation.rows import (
    AS_MANY_TOKENS,
    CONTROL,
    FEW,
    MAIN,
    ROWS,
    UNTRAINED,
    Budget,
    as_many_tokens,
)
from experiments.iterit_ablation.turnover import Turnover
from lit_curriculum.callbacks.ability_monitor import AbilityMonitor
from lit_curriculum.commands.run import CurriculumCLI


@dataclasses.dataclass(frozen=True)
class Profile:
    """Model and data, and the budget of every row."""

    setting: profiles.Setting
    budget: Budget
    elsewhere: Elsewhere | None = None


GEMMA: dict[str, Any] = {"model": "gemma3_270m_top", "chat": "headings"}
"""A base model, which has no template."""
PROFILES = {
    "abilities": Profile(profiles.Setting(examples=1600), Budget(fraction=0.2, stages=6, warm_stages=4)),
    "real": Profile(
        dataclasses.replace(profiles.PROFILES["real"], examples=300), Budget(fraction=0.2, stages=4, warm_stages=0)
    ),
    "gemma": Profile(
        dataclasses.replace(profiles.PROFILES["real"], examples=300, **GEMMA),
        Budget(fraction=0.2, stages=4, warm_stages=0),
    ),
}
QUICK = {
    "abilities": Profile(profiles.Setting(examples=200, held_out=5), Budget(fraction=0.2, stages=2, warm_stages=1)),
    "real": Profile(
        dataclasses.replace(profiles.PROFILES["real"], examples=12, held_out=2), Budget(0.5, stages=2, warm_stages=0)
    ),
    "gemma": Profile(
        dataclasses.replace(profiles.PROFILES["real"], examples=12, held_out=2, **GEMMA),
        Budget(0.5, stages=2, warm_stages=0),
    ),
}
UNITS = {
    "held-out loss": "nats per token",
    "accuracy": "share",
    "exact match, induction": "share",
    "newly chosen": "share",
    "newly hard": "share",
    "newly hard after the first stage": "share",
    "examples trained": "examples",
    "trained tokens": "tokens",
    "scored tokens over trained tokens": "ratio",
    "seconds of scoring": "s",
    "seconds": "s",
}


def run_cell(options: list[str], seed: int, profile: Profile, data: Path | None) -> Measures:
    """Train a row, given by its options, with one seed and measure it on held-out examples."""
    started = time.perf_counter()
    setting, warm_stages = profile.setting, profile.budget.warm_stages
    with tempfile.TemporaryDirectory() as folder:
        args = setting.arguments(seed, Path(folder), data)
        cli = CurriculumCLI([*args, *options], run=False)
        cost, monitor, turnover = Cost(), AbilityMonitor(), Turnover(warm_stages)
        cli.trainer.callbacks += [cost, monitor, turnover]  # type: ignore[attr-defined]
        cli.trainer.fit(cli.model, cli.datamodule)
        tried = {} if profile.elsewhere is None else profile.elsewhere.measures(cli.model, setting.template)
        return {
            **held_out(cli, monitor, setting),
            **tried,
            **turnover.measures(),
            "examples trained": float(cost.trained),
            "trained tokens": float(cost.trained_tokens),
            "seconds": time.perf_counter() - started,
            "seconds of scoring": cost.scoring_seconds,
            "scored tokens over trained tokens": cost.scored_tokens / cost.trained_tokens,
        }


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=list(PROFILES), default="abilities")
    parser.add_argument("--out", type=Path, default=None, help="by default results/iterit_ablation[_PROFILE]")
    parser.add_argument("--data", type=Path, default=None, help="folder of the real training data (--profile real)")
    parser.add_argument("--eval", type=Path, default=None, help="folder of benchmarks to try every trained model on")
    parser.add_argument("--tasks", nargs="+", choices=list(FILES), help="of them; on a CPU only what is not generated")
    parser.add_argument("--items", type=int, default=100, help="of each of the tasks")
    parser.add_argument("--max_new_tokens", type=int, default=256, help="of an answer to them")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--seeds", type=int, default=None, help="by default 5, with real data 3")
    parser.add_argument("--shard", default="0/1", help="this process's share of the cells, such as 0/2")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=None, help="by default the profile's")
    parser.add_argument("--quick", action="store_true", help="little data, three rows, two seeds (real: one)")
    given = parser.parse_args()
    profile = (QUICK if given.quick else PROFILES)[given.profile]
    setting = dataclasses.replace(profile.setting, accelerator=given.accelerator)
    tasks = given.tasks or [t for t in FILES if given.accelerator != "cpu" or t not in GENERATED]
    items, max_new_tokens = (2, 4) if given.quick else (given.items, given.max_new_tokens)
    elsewhere = given.eval and Elsewhere(given.eval, tasks, items, max_new_tokens)
    profile = dataclasses.replace(profile, setting=setting, elsewhere=elsewhere)
    real = setting.real
    if elsewhere and not elsewhere.asked:  # read now: what cannot be judged is refused before any training
        parser.error(f"--eval {given.eval}: no item is there to be asked")
    if real and given.data is None:
        parser.error("--profile real needs --data FOLDER, the folder of instruction_induction.jsonl.gz and the others")
    usual = [row for row in ROWS if row != UNTRAINED]
    rows = given.rows or {"real": MAIN, "gemma": FEW}.get(given.profile, usual)
    rows = [CONTROL, "IterIT", "complexity alone, everything re-scored"] if given.quick else rows
    seeds = range((1 if real else 2) if given.quick else given.seeds or (3 if real else 5))
    out = given.out or Path("results/iterit_ablation" + ("" if given.profile == "abilities" else f"_{given.profile}"))
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    shard, shards = (int(n) for n in given.shard.split("/"))
    config = {**setting.config, **dataclasses.asdict(profile.budget), **(elsewhere.config if elsewhere else {})}
    log = CellLog(out / "cells.jsonl", config)
    budget = profile.budget

    def cell(row: str, seed: int) -> Measures:
        return run_cell(ROWS[row](budget), seed, profile, given.data)

    log.run([row for row in rows if row != UNTRAINED], seeds, cell, shard, shards)
    if UNTRAINED in rows:
        log.run([UNTRAINED], seeds[:1], cell, shard, shards)  # no chance is in it

    def equal(_: str, seed: int) -> Measures:
        tokens = round(log.found["IterIT", seed]["trained tokens"] / budget.stages)
        return run_cell(as_many_tokens(budget, tokens), seed, profile, given.data)

    # After common first passes the tokens of the choice alone are not known, and nearly those of the control.
    if not budget.warm_stages and "IterIT" in rows:
        log.run([AS_MANY_TOKENS], [s for s in seeds if ("IterIT", s) in log.found], equal, shard, shards)
        rows = [*rows, AS_MANY_TOKENS]
    log.read()
    named = sorted({m for cell in log.found.values() for m in cell} - set(UNITS))
    units = UNITS | {m: "share" if m.startswith("right answers") else "nats per token" for m in named}
    table = compare(log.found, rows, CONTROL, units)
    config |= {"seeds": len(seeds), "control": CONTROL, "accelerator": given.accelerator}
    read = [*(files(given.data) if real else ()), *((given.eval / FILES[t] for t in tasks) if elsewhere else ())]
    write_results(out, table, config, read)
    answered = [f"right answers, {t}" for t in tasks if elsewhere and t in GENERATED]
    shown = ["held-out loss", *(answered or ["exact match, induction" if real else "accuracy"])]
    forest(table, out / "differences.png", shown, CONTROL)
    print_rows(table)


if __name__ == "__main__":
    main()
