"""All baselines on the embedded default with planted noise and copies, against random of equal size and equal tokens.

python -m experiments.baselines.run --out DIR [--seeds N] [--shard I/N] [--rows NAME ...] [--quick]

A cell is a method with a seed, which decides on data and order; initial weights are the same in all cells. It is
trained, and so is a control of random examples with as many tokens in every stage; the control of equal size is another
row. Cells are kept in DIR/cells.jsonl as they end: rerun the same command to resume; several processes share the work
by --shard 0/2 and --shard 1/2.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from experiments.ablation import CellLog, Measures, compare
from experiments.baselines import rows_ordering, rows_selection
from experiments.baselines.figure import draw
from experiments.baselines.method import CONFIGS, RANDOM, Method, Setting, policy_options
from experiments.baselines.ranking import ranking
from experiments.common import SILENT, print_rows, write_results
from lit_curriculum import CurriculumObserver, StageReport
from lit_curriculum.callbacks.ability_monitor import AbilityMonitor
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.utils.files import atomic_path

METHODS: dict[str, Method] = {m.name: m for m in (*rows_selection.ROWS, *rows_ordering.ROWS)}
UNITS = {
    "held-out loss": "nats per token",
    "accuracy": "share",
    "held-out loss minus random of equal tokens": "nats per token",
    "accuracy minus random of equal tokens": "share",
    "share of planted noise": "share",
    "share of copies": "share",
    "mean planted level": "level",
    "tokens trained": "tokens",
    "scored tokens over trained tokens": "ratio",
    "seconds beside training": "s",
}
QUICK = (*RANDOM.values(), "longest", "IFD by a proxy (Superfiltering)", "GraphFilter", "zigzag", "SuperLoss")
_controls: dict[tuple[int, tuple[str, ...]], Measures] = {}
_PAIRED = ("held-out loss", "accuracy")


class Witness(Callback, CurriculumObserver):
    """What was trained on, stage by stage, and what deciding it cost."""

    def __init__(self) -> None:
        self.plans: list[np.ndarray] = []
        self.scored_tokens = 0
        self.batch_seconds = self._began = 0.0

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        self.plans.append(report.plan.indices)
        self.scored_tokens += report.scored_tokens
        self.scored_tokens += report.learning.forward_tokens + report.learning.generated_tokens

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.batch_seconds += time.perf_counter() - self._began


def configured(options: Sequence[str], seed: int, setting: Setting) -> CurriculumCLI:
    """A run on the embedded default with these options of the command line."""
    args = [f"--config={CONFIGS / layer}.yaml" for layer in ("base", "model/tiny", "data/abilities")]
    args += ["--model.init_seed=0", *options, *SILENT, "--trainer.accelerator=cpu"]
    args += [f"--data.num_train={setting.examples}", f"--data.num_val_per_ability={setting.held_out}"]
    args += [
        f"--data.batch_size={setting.batch_size}",
        f"--data.data_seed={seed}",
        "--data.noise_share=0.1",
        "--data.duplicate_share=0.1",
    ]
    return CurriculumCLI([*args, f"--seed_everything={seed}"], run=False)


def train(options: Sequence[str], seed: int, setting: Setting, chosen_from: int) -> tuple[Measures, Witness, list[int]]:
    """Train one run, and measure the model on held-out examples and what it was trained on from a stage on.

    Returns:
        The measures, the witness, and the tokens of each stage.
    """
    with tempfile.TemporaryDirectory() as folder:
        cli = configured([*options, f"--trainer.default_root_dir={folder}"], seed, setting)
        witness, monitor = Witness(), AbilityMonitor()
        cli.trainer.callbacks += [witness, monitor]  # type: ignore[attr-defined]
        started = time.perf_counter()
        cli.trainer.fit(cli.model, cli.datamodule)
        seconds = time.perf_counter() - started
        cli.trainer.limit_val_batches = 1.0
        loss = float(cli.trainer.validate(cli.model, cli.datamodule, verbose=False)[0]["val/loss"])
        store = cli.datamodule.train_store
        lengths = store.lengths("conditioned")
        tokens = [int(lengths[plan].sum()) for plan in witness.plans]
        chosen = [[store[int(i)] for i in plan] for plan in witness.plans[chosen_from:]]
    entries = [example for plan in chosen for example in plan]
    copies = sum(len(plan) - len({example.content_hash for example in plan}) for plan in chosen)
    measures = {
        "held-out loss": loss,
        "accuracy": float(np.mean([r["accuracy"] for r in monitor.results.values()])),
        "share of planted noise": float(np.mean([e.meta["is_noise"] for e in entries])),
        "share of copies": copies / len(entries),
        "mean planted level": float(np.mean([e.meta["level"] for e in entries])),
        "tokens trained": float(sum(tokens)),
        "scored tokens over trained tokens": witness.scored_tokens / sum(tokens),
        "seconds beside training": seconds - witness.batch_seconds,
    }
    return measures, witness, tokens


def make_proxy(folder: Path, seed: int, setting: Setting) -> Path:
    """A small model from other initial weights, trained on all data in random order, that scores from outside.

    Its context is twice the data's, so that a prompt around an example fits.
    """
    if not (folder / "config.json").exists():
        cli = configured(["--trainer.callbacks=[]", f"--trainer.max_epochs={setting.warm_stages}",
                          f"--trainer.default_root_dir={folder.parent}", "--model.init_seed=1000",
                          "--model.config.max_position_embeddings=128"], seed, setting)  # fmt: skip
        cli.trainer.fit(cli.model, cli.datamodule)
        with atomic_path(folder) as draft:
            cli.datamodule.tokenizer.save_pretrained(draft)
            cli.model.model.save_pretrained(draft)
    return folder


def run_cell(name: str, seed: int, setting: Setting, out: Path) -> Measures:
    """One method and its control of equal tokens."""
    method = METHODS[name]
    first = setting.warm_stages if method.family == "selection" else 0
    proxy = out / f"proxy-{seed}"
    if method.needs_proxy:
        make_proxy(proxy, seed, setting)
    measures, witness, tokens = train(method.command(setting, proxy), seed, setting, first)
    options = {
        "tokens": tokens[first:],
        "sizes": [len(plan) for plan in witness.plans[first:]],
        "fresh": "once" if method.family == "selection" else "each_stage",
    }
    control = {"class_path": "experiments.baselines.controls.SameTokens", "init_args": options}
    arguments = [
        "--trainer.callbacks=[]",
        "--curriculum.metrics={}",
        *policy_options(control, method.family, setting, len(tokens)),
    ]
    key = (seed, tuple(arguments))
    if key not in _controls:  # methods that train on all data in every stage have the same control
        _controls[key] = train(arguments, seed, setting, first)[0]
    other = _controls[key]
    return measures | {f"{m} minus random of equal tokens": measures[m] - other[m] for m in _PAIRED}


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/baselines"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shard", default="0/1", help="this process's share of the cells, such as 0/2")
    parser.add_argument("--rows", nargs="+", choices=list(METHODS), default=list(METHODS), help="by default all")
    parser.add_argument("--quick", action="store_true", help="little data, two seeds, some rows")
    given = parser.parse_args()
    setting = Setting(examples=120, warm_stages=1, stages=2, held_out=4) if given.quick else Setting()
    seeds = range(2 if given.quick else given.seeds)
    rows = list(QUICK) if given.quick else given.rows
    warnings.filterwarnings("ignore", module="lightning")
    for logger in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    shard, shards = (int(n) for n in given.shard.split("/"))
    config = {**asdict(setting), "noise_share": 0.1, "duplicate_share": 0.1, "model": "model/tiny"}
    log = CellLog(given.out / "cells.jsonl", config)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["LIT_CURRICULUM_CACHE"] = scratch
        log.run(rows, seeds, lambda row, seed: run_cell(row, seed, setting, Path(scratch)), shard, shards)
    log.read()
    table, page = [], ["# Baselines beside random examples", "", "Written by `python -m experiments.baselines.run`."]
    for family, control in RANDOM.items():
        names = [name for name in rows if METHODS[name].family == family]
        part = compare(log.found, names, control, UNITS) if names else []
        table += part
        page += ["", f"## {family.capitalize()}", "", *ranking(part, names, control)] if names else []
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "ranking.md").write_text("\n".join(page) + "\n", encoding="utf-8")
    write_results(given.out, table, {**config, "seeds": len(seeds), "controls": list(RANDOM.values())})
    draw(given.out)
    print_rows(table)


if __name__ == "__main__":
    main()
