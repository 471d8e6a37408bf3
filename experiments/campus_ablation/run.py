"""CAMPUS's ablations, at equal number of examples trained on, against random order.

python -m experiments.campus_ablation.run --out DIR [--profile NAME] [--seeds N] [--shard I/N] [--quick]

Every row is a policy; a cell is a row with a seed, which decides on data and order alike, so that rows are compared
within seeds; all start from the same weights. Cells are kept in DIR/cells.jsonl as they end: rerun the same command
to resume; several processes share the work by --shard 0/2 and --shard 1/2. Of the profiles,
``abilities`` is the whole matrix on the embedded default, with length and diversity of the response; ``views`` repeats
what concerns single views with those of instruction and response; ``long`` has the main rows on three times the budget,
and ``real`` the main rows with a pretrained model and real data (--data FOLDER).
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import tempfile
import time
import warnings
from pathlib import Path

import datasets
from lightning.pytorch import Callback, Trainer

from experiments.ablation import CellLog, Measures, compare, forest
from experiments.campus_ablation.profiles import PROFILES, QUICK, Setting
from experiments.campus_ablation.real_rows import EXACT, files
from experiments.campus_ablation.rows import CONTROL, LONG, MAIN, ROWS, VIEWS
from experiments.common import print_rows, write_results
from lit_curriculum import CurriculumObserver, StageReport
from lit_curriculum.callbacks.ability_monitor import AbilityMonitor
from lit_curriculum.commands.run import CurriculumCLI


class Cost(Callback, CurriculumObserver):
    """What was trained on, and what choosing it cost: all tokens that the model saw or wrote for it, and the time."""

    def __init__(self) -> None:
        self.trained = self.trained_tokens = self.scored_tokens = 0
        self.scoring_seconds = 0.0

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        lengths = trainer.datamodule.train_store.lengths("conditioned")  # type: ignore[attr-defined]
        self.trained += len(report.plan)
        self.trained_tokens += int(lengths[report.plan.indices].sum())
        learning = report.learning
        self.scored_tokens += report.scored_tokens + learning.forward_tokens + learning.generated_tokens
        self.scoring_seconds += report.scoring_seconds + report.selecting_seconds + learning.seconds


def run_cell(row: str, seed: int, setting: Setting, data: Path | None) -> Measures:
    """Train one row with one seed and measure it on held-out examples."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        args = setting.arguments(seed, Path(folder), data)
        cli = CurriculumCLI([*args, *ROWS[row](setting)], run=False)
        cost, monitor = Cost(), AbilityMonitor()
        cli.trainer.callbacks += [cost, monitor]  # type: ignore[attr-defined]
        before = held_out(cli, monitor, setting, " before training") if setting.real and row == CONTROL else {}
        cli.trainer.limit_val_batches = 0
        cli.trainer.fit(cli.model, cli.datamodule)
        steps = cli.trainer.global_step
        return {
            **held_out(cli, monitor, setting),
            **before,
            "examples trained": float(cost.trained),
            "trained tokens": float(cost.trained_tokens),
            "steps": float(steps),
            "seconds": time.perf_counter() - started,
            "seconds of scoring": cost.scoring_seconds,
            "scored tokens over trained tokens": cost.scored_tokens / cost.trained_tokens,
        }


def held_out(cli: CurriculumCLI, monitor: AbilityMonitor, setting: Setting, ending: str = "") -> Measures:
    """Loss and exact match on the held-out examples, with real data by source."""
    cli.trainer.limit_val_batches = 1.0
    found = {"held-out loss": float(cli.trainer.validate(cli.model, cli.datamodule, verbose=False)[0]["val/loss"])}
    results = monitor.results
    if setting.real:
        found |= {f"held-out loss, {source}": r["nll"] for source, r in results.items()}
        found |= {f"exact match, {source}": r["accuracy"] for source, r in results.items() if source in EXACT}
    else:
        found["accuracy"] = sum(r["accuracy"] for r in results.values()) / len(results)
    return {f"{name}{ending}": value for name, value in found.items()}


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=list(PROFILES), default="abilities")
    parser.add_argument("--out", type=Path, default=None, help="by default results/campus_ablation[_PROFILE]")
    parser.add_argument("--data", type=Path, default=None, help="folder of the real training data (--profile real)")
    parser.add_argument("--model", default=None, help="a file of configs/model; by default the profile's")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--precision", default=None, help="by default the profile's")
    parser.add_argument("--seeds", type=int, default=None, help="by default 5, with real data 3")
    parser.add_argument("--shard", default="0/1", help="this process's share of the cells, such as 0/2")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=None, help="by default the profile's")
    parser.add_argument("--quick", action="store_true", help="little data, three rows, two seeds (real: one)")
    given = parser.parse_args()
    profile = PROFILES[given.profile]
    if profile.real and given.data is None:
        parser.error("--profile real needs --data FOLDER, the folder of instruction_induction.jsonl.gz and the others")
    named = {name: getattr(given, name) for name in ("model", "precision") if getattr(given, name) is not None}
    little = QUICK[given.profile] if given.quick else {}
    setting = dataclasses.replace(profile, accelerator=given.accelerator, **named, **little)
    usual_rows = {"abilities": list(ROWS), "views": VIEWS, "long": LONG, "real": MAIN}[given.profile]
    rows = usual_rows if given.rows is None else given.rows
    rows = [CONTROL, "CAMPUS, three views", "CAMPUS"] if given.quick else rows
    usual, little_of_it = (3, 1) if setting.real else (5, 2)
    seeds = range(little_of_it if given.quick else given.seeds or usual)
    out = given.out or Path("results/campus_ablation" + ("" if given.profile == "abilities" else f"_{given.profile}"))
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    shard, shards = (int(n) for n in given.shard.split("/"))
    log = CellLog(out / "cells.jsonl", setting.config)
    log.run(rows, seeds, lambda row, seed: run_cell(row, seed, setting, given.data), shard, shards)
    log.read()
    units = {measure: unit(measure) for cell in log.found.values() for measure in cell}
    table = compare(log.found, rows, CONTROL, units)
    config = {**setting.config, "seeds": len(seeds), "control": CONTROL}
    write_results(out, table, config, files(given.data) if setting.real else ())
    forest(
        table, out / "differences.png", [m for m in units if not m.endswith("before training") and is_gain(m)], CONTROL
    )
    print_rows(table)


def is_gain(measure: str) -> bool:
    """Whether it is one of the losses and matches on held-out examples."""
    return measure.startswith(("held-out loss", "exact match"))


def unit(measure: str) -> str:
    """Unit of a measure."""
    if is_gain(measure):
        return "share" if measure.startswith("exact") else "nats per token"
    return {"accuracy": "share", "examples trained": "examples", "trained tokens": "tokens", "steps": "steps",
            "seconds": "s", "seconds of scoring": "s",
            "scored tokens over trained tokens": "ratio"}[measure]  # fmt: skip


if __name__ == "__main__":
    main()
