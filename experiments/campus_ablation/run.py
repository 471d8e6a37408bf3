"""CAMPUS's ablations on the embedded default, at equal number of examples trained on, against random order.

python -m experiments.campus_ablation.run --out DIR [--seeds N] [--shard I/N] [--quick]

Every row is a policy; a cell is a row with a seed, which decides on data, initial weights and order alike, so that
rows are compared within seeds. Cells are kept in DIR/cells.jsonl as they end: the same command goes on where it was
stopped, and several processes share the work by --shard 0/2 and --shard 1/2.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import datasets
from lightning.pytorch import Callback, Trainer

from experiments.ablation import CellLog, Measures, compare
from experiments.campus_ablation.rows import CONTROL, ROWS, Setting
from experiments.common import print_rows, write_results
from lit_curriculum.callbacks import CurriculumObserver, StageReport
from lit_curriculum.callbacks.abilities import AbilityMonitor
from lit_curriculum.cli import CurriculumCLI
from lit_curriculum.report import figures

CONFIGS = Path(__file__).parents[2] / "configs"
UNITS = {
    "held-out loss": "nats per token", "accuracy": "share", "examples trained": "examples", "steps": "steps",
    "seconds": "s",
    "scored tokens over trained tokens": "ratio",
}  # fmt: skip


class Cost(Callback, CurriculumObserver):
    """What was trained on and what was scored, in examples and tokens."""

    def __init__(self) -> None:
        self.trained = self.trained_tokens = self.scored_tokens = 0

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        lengths = trainer.datamodule.train_store.lengths("conditioned")  # type: ignore[attr-defined]
        self.trained += len(report.plan)
        self.trained_tokens += int(lengths[report.plan.indices].sum())
        self.scored_tokens += report.scored_tokens


def run_cell(row: str, seed: int, setting: Setting) -> Measures:
    """Train one row with one seed and measure it on held-out examples."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        layers = ["base", "model/tiny", "data/abilities"]
        args = [f"--config={CONFIGS / layer}.yaml" for layer in layers]
        args += ["--trainer.accelerator=cpu", "--trainer.logger=false", "--trainer.callbacks=[]"]
        args += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
        args += ["--trainer.enable_checkpointing=false", "--trainer.limit_val_batches=0"]
        args += [f"--trainer.default_root_dir={folder}", f"--data.num_train={setting.examples}"]
        args += [f"--data.num_val_per_ability={setting.held_out}", f"--data.data_seed={seed}"]
        args += [f"--seed_everything={seed}", f"--curriculum.seed={seed}"]
        args += ROWS[row](setting)
        cli = CurriculumCLI(args, run=False)
        cost, monitor = Cost(), AbilityMonitor()
        cli.trainer.callbacks += [cost, monitor]  # type: ignore[attr-defined]
        cli.trainer.fit(cli.model, cli.datamodule)
        cli.trainer.limit_val_batches = 1.0
        loss = float(cli.trainer.validate(cli.model, cli.datamodule, verbose=False)[0]["val/loss"])
        steps = cli.trainer.global_step
        accuracy = [r["accuracy"] for r in monitor.results.values()]
    return {
        "held-out loss": loss,
        "accuracy": sum(accuracy) / len(accuracy),
        "examples trained": float(cost.trained),
        "steps": float(steps),
        "seconds": time.perf_counter() - started,
        "scored tokens over trained tokens": cost.scored_tokens / cost.trained_tokens,
    }


def forest(table: list[dict[str, Any]], path: Path) -> None:
    """Differences to the control in held-out loss, with their intervals."""
    ending = f" minus {CONTROL}: held-out loss"
    rows = [r for r in table if r["name"].endswith(ending) and "low" in r]
    figure, axes = figures.plt.subplots(figsize=(8, 0.28 * len(rows) + 1.2))
    for place, row in enumerate(reversed(rows)):
        axes.plot([row["low"], row["high"]], [place, place], color=figures.GREY)
        axes.plot(row["value"], place, "o", color="C0", markersize=4)
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [r["name"].removesuffix(ending) for r in reversed(rows)])
    axes.set_xlabel(f"held-out loss minus that of {CONTROL} order, nats per token (95 % interval over seeds)")
    figures.save(figure, path)


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/campus_ablation"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shard", default="0/1", help="this process's share of the cells, such as 0/2")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), help="by default all")
    parser.add_argument("--quick", action="store_true", help="little data, three rows, two seeds")
    given = parser.parse_args()
    setting = Setting(examples=300, passes=1, bands=3, held_out=5) if given.quick else Setting()
    rows = [CONTROL, "CAMPUS, three views", "CAMPUS"] if given.quick else given.rows
    seeds = range(2 if given.quick else given.seeds)
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    shard, shards = (int(n) for n in given.shard.split("/"))
    config = {"examples": setting.examples, "passes": setting.passes, "bands": setting.bands, "model": "model/tiny"}
    log = CellLog(given.out / "cells.jsonl", config)
    log.run(rows, seeds, lambda row, seed: run_cell(row, seed, setting), shard, shards)
    log.read()
    table = compare(log.found, rows, CONTROL, UNITS)
    write_results(given.out, table, {**config, "seeds": len(seeds), "control": CONTROL})
    forest(table, given.out / "differences.png")
    print_rows(table)


if __name__ == "__main__":
    main()
