"""IterIT on real instructions with a real pretrained model: a run small enough for two cores.

Writes the run's configuration, log and selection files, ``iterit.png`` (scores and turnover by stage) and
``results.json`` (held-out loss before and after, overlap and new hard examples by stage, cost).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger

from experiments import figures as panels
from experiments.common import Row, write_results
from lit_curriculum import CurriculumObserver, StageReport
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.report import figures

UNITS = {
    "scoring_seconds": "s", "selecting_seconds": "s", "scored_tokens": "tokens", "at_or_above_one": "examples",
    "scored": "examples",
}  # fmt: skip
CONFIGS = Path(__file__).parents[2] / "configs"


class Trace(Callback, CurriculumObserver):
    """Scores, selections and costs of every stage."""

    def __init__(self) -> None:
        self.scores: list[np.ndarray] = []
        self.selected: list[set[int]] = []
        self.reports: list[dict[str, float]] = []

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        fresh = report.table.scored_at["ifd"] == report.stage
        self.scores.append(report.table.scores["ifd"][fresh])
        self.selected.append(set(report.plan.indices.tolist()))
        self.reports.append(
            {
                "scoring_seconds": report.scoring_seconds,
                "selecting_seconds": report.selecting_seconds,
                "scored_tokens": float(report.scored_tokens),
                "at_or_above_one": float(np.sum(self.scores[-1] >= 1)),
                "scored": float(len(self.scores[-1])),
            }
        )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="instruction file with Alpaca's fields")
    parser.add_argument("--model", default="smollm2", help="a file of configs/model")
    parser.add_argument("--rows", type=int, default=400, help="first so many rows of the file")
    parser.add_argument("--fraction", type=float, default=0.1, help="share of them that a stage trains on")
    parser.add_argument("--stages", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/iterit_alpaca"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="bf16-mixed", help="of training; scoring is in the weights' float32")
    parser.add_argument("--quick", action="store_true", help="40 rows, two stages")
    given = parser.parse_args()
    rows = 40 if given.quick else given.rows
    stages = 2 if given.quick else given.stages
    work = Path("runs") / "iterit_alpaca"
    layers = ["base", f"model/{given.model}", "curriculum/iterit"]
    args = [f"--config={CONFIGS / layer}.yaml" for layer in layers]
    args += [f"--data.path={given.data}", f"--data.limit={rows}", "--data.val_fraction=0.1", "--data.batch_size=8"]
    args += [f"--curriculum.policy.fraction={given.fraction}", f"--trainer.max_epochs={stages}"]
    args += [f"--trainer.precision={given.precision}", "--data.eval_batch_size=4", "--trainer.log_every_n_steps=1"]
    args += [f"--seed_everything={given.seed}"]
    args += [f"--trainer.default_root_dir={work}", f"--trainer.logger.init_args.save_dir={work}"]
    started = time.perf_counter()
    cli = CurriculumCLI(args, run=False)
    trace = Trace()
    cli.trainer.callbacks.append(trace)  # type: ignore[attr-defined]
    log = CSVLogger(cli.trainer.log_dir or work, name="csv")
    cli.trainer.loggers = [*cli.trainer.loggers, log]  # type: ignore[attr-defined]
    before = cli.trainer.validate(cli.model, cli.datamodule, verbose=False)[0]["val/loss"]
    cli.trainer.fit(cli.model, cli.datamodule)
    after = cli.trainer.validate(cli.model, cli.datamodule, verbose=False)[0]["val/loss"]

    given.out.mkdir(parents=True, exist_ok=True)
    cli.parser.save(cli.config, str(given.out / "config.yaml"), skip_validation=True, overwrite=True)
    for logger in cli.trainer.loggers:
        logger.finalize("success")
    folder = Path(cli.trainer.log_dir or work)
    copy_without_folder(sorted((folder / "selection").glob("*.jsonl")), given.out / "selection", given.data)
    copy_without_folder([given.out / "config.yaml"], given.out, given.data)
    copy_without_folder(sorted((folder / "csv").rglob("metrics.csv")), given.out, given.data)
    found: list[Row] = [
        {"name": "held-out loss before", "value": before, "unit": "nats"},
        {"name": "held-out loss after", "value": after, "unit": "nats"},
        {"name": "held-out examples", "value": len(cli.datamodule.val_store), "unit": "examples"},
        {"name": "training examples", "value": len(cli.datamodule.train_store), "unit": "examples"},
    ]
    for stage, report in enumerate(trace.reports):
        found += [{"name": f"stage {stage}/{name}", "value": v, "unit": UNITS[name]} for name, v in report.items()]
        if stage:
            new = len(trace.selected[stage] - trace.selected[stage - 1]) / len(trace.selected[stage])
            found.append({"name": f"stage {stage}/not selected the stage before", "value": new, "unit": "share"})
    found.append({"name": "seconds in all", "value": time.perf_counter() - started, "unit": "s"})
    config = {"rows": rows, "fraction": given.fraction, "stages": stages, "seed": given.seed, "model": given.model}
    write_results(given.out, found, config, [given.data])
    figure, axes = figures.plt.subplots(1, 2, figsize=(11, 4))
    panels.score_by_level(axes[0], *_flatten(trace.scores), "IFD of what was scored")
    axes[0].set_xlabel("stage")
    axes[0].axhline(1.0, color=figures.GREY, linewidth=1)
    overlap = [
        [len(a & b) / max(len(b), 1) for a in trace.selected] for b in trace.selected
    ]  # fmt: skip
    figures.share_matrix(axes[1], overlap, "stage", "share of the row's stage that is in the column's")
    figures.save(figure, given.out / "iterit.png")
    print(json.dumps(found, indent=1))


def copy_without_folder(files: list[Path], folder: Path, data: Path) -> None:
    """Copy text files, naming the data file without where it lies on this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file.name).write_text(file.read_text().replace(str(data), data.name))


def _flatten(scores: list[np.ndarray]) -> tuple[list[int], list[float]]:
    stages = [stage for stage, values in enumerate(scores) for _ in values]
    return stages, [float(v) for values in scores for v in values]


if __name__ == "__main__":
    main()
