"""Does a mixture that follows growth learn more than uniform order, or than the paper's reconstructed mixture?

All draw on the same generated rows and train on as many of them, repeats counted, in as many steps; seeds change data,
weights and order. GrowthPace also scores its probes, and does not train on them. The abilities that ``reconstruct``
holds back are noise and echo, by their planted truth. It is given that truth, GrowthPace is not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from lightning.pytorch import Callback, Trainer

from experiments.ablation import CellLog, Measures, compare
from experiments.common import print_rows, write_results
from lit_curriculum import CurriculumObserver, StageReport
from lit_curriculum.callbacks.ability_monitor import AbilityMonitor
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.report import figures

CONFIGS = Path(__file__).parents[2] / "configs"
PROBE = 40  # rows of each ability that GrowthPace keeps out of training and scores before every stage
UNITS = {
    "macro accuracy": "share",
    "macro accuracy without noise": "share",
    "macro loss without noise": "nats",
    "rows trained on": "rows",
    "scored tokens": "tokens",
}


class Mixtures(Callback, CurriculumObserver):
    """Keeps the shares of every stage and what deciding cost."""

    def __init__(self) -> None:
        self.shares: list[dict[str, float]] = []
        self.rows = 0
        self.scored_tokens = 0

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        self.shares.append(report.ability_shares)
        self.rows += len(report.plan)
        self.scored_tokens += report.scored_tokens


def policy(row: str, size: int, num_train: int) -> list[str]:
    """Options of the contender."""
    prefix = "--curriculum.policy=lit_curriculum."
    init = "--curriculum.policy.init_args."
    if row == "uniform":
        return [f"{prefix}UniformPolicy", f"{init}fraction=null", f"{init}count={size}"]
    if row == "reconstruct":
        held = round(0.064 * num_train / 10)  # 64 of 1000 rows, the paper's quota
        return [
            f"{prefix}AbilityMixturePolicy", f"{init}recipe=reconstruct",
            f"{init}quotas={{noise: {held}, echo: {held}}}",
            # All rows of the other eight: uniform order has no more to draw on.
            f"{init}budget={num_train // 10 * 8 + 2 * held}", f"{init}rows_per_stage={size}",
        ]  # fmt: skip
    nll = "{class_path: lit_curriculum.NegativeLogLikelihood}"
    return [
        f"{prefix}GrowthPacePolicy", f"{init}metric=nll", f"{init}count={size}", f"{init}probe={PROBE}",
        f"--curriculum.metrics={{nll: {nll}}}",
    ]  # fmt: skip


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/growth_pace"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--stages", type=int, default=30)
    parser.add_argument("--rows", type=int, default=1280, help="rows of a stage")
    parser.add_argument("--shard", type=int, default=0, help="which share of the cells this process runs, from 0 on")
    parser.add_argument("--shards", type=int, default=1, help="processes that share the cells")
    parser.add_argument("--quick", action="store_true", help="two seeds, four small stages")
    given = parser.parse_args()
    stages, size, seeds, num_train = given.stages, given.rows, given.seeds, 6000
    if given.quick:
        stages, size, seeds, num_train = 4, 64, 2, 1000
    config = {
        "stages": stages,
        "rows of a stage": size,
        "seeds": seeds,
        "training rows": num_train,
        "batch": 32,
        "probe": PROBE,
    }
    path = given.out / "mixture.json"

    def cell(row: str, seed: int) -> Measures:
        with tempfile.TemporaryDirectory(prefix="growth-pace-") as folder:
            args = [f"--config={CONFIGS / layer}.yaml" for layer in ("base", "model/tiny", "data/abilities")]
            args += [
                *policy(row, size, num_train), f"--trainer.max_epochs={stages}", "--trainer.accelerator=cpu",
                "--trainer.logger=false", "--trainer.callbacks=[]", "--trainer.enable_checkpointing=false",
                "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
                f"--trainer.check_val_every_n_epoch={stages}", f"--trainer.default_root_dir={folder}",
                f"--data.num_train={num_train}", "--data.duplicate_share=0", "--data.noise_share=0",
                f"--data.data_seed={seed}", f"--seed_everything={seed}",
                "--data.eval_batch_size=500",
            ]  # fmt: skip
            cli = CurriculumCLI(args, run=False)
            monitor, mixtures = AbilityMonitor(), Mixtures()
            cli.trainer.callbacks += [monitor, mixtures]  # type: ignore[attr-defined]
            cli.trainer.fit(cli.model, cli.datamodule)
        if (row, seed) == ("growth_pace", 0):
            path.write_text(json.dumps(mixtures.shares) + "\n", encoding="utf-8")
        found = monitor.results
        clean = [r for a, r in found.items() if a != "noise"]
        last = {f"last share of {a}": share for a, share in mixtures.shares[-1].items()} if seed == 0 else {}
        return {
            "macro accuracy": float(np.mean([r["accuracy"] for r in found.values()])),
            "macro accuracy without noise": float(np.mean([r["accuracy"] for r in clean])),
            "macro loss without noise": float(np.mean([r["nll"] for r in clean])),
            "rows trained on": float(mixtures.rows),
            "scored tokens": float(mixtures.scored_tokens),
            **last,
        }

    rows = ["uniform", "reconstruct", "growth_pace"]
    log = CellLog(given.out / "cells.jsonl", config)
    log.run(rows, range(seeds), cell, given.shard, given.shards)
    log.read()
    if len(log.found) < len(rows) * seeds:
        print(f"{len(log.found)} of {len(rows) * seeds} cells are done")
        return
    table = compare(log.found, rows, "uniform", UNITS)
    against = compare(log.found, rows[1:], "reconstruct", dict(list(UNITS.items())[:3]))
    table += [row for row in against if str(row["name"]).startswith("growth_pace minus reconstruct")]
    table += [
        {"name": f"growth_pace: {name}, seed 0", "value": value, "unit": "share"}
        for name, value in log.found["growth_pace", 0].items()
        if name.startswith("last share")
    ]
    write_results(given.out, table, config)
    print_rows(table)
    figure, axes = figures.plt.subplots(figsize=(7, 4))
    figures.mixture(axes, json.loads(path.read_text(encoding="utf-8")))
    figures.save(figure, given.out / "mixture.svg")


if __name__ == "__main__":
    main()
