"""The main job on the embedded default: train a tiny model with a curriculum and show what it learnt.

Ends with a table (ability, accuracy before and after, chance), the rank correlation between the difficulty metric
and the true difficulty, a figure, and the TensorBoard command. Files: ``results.json``, ``demo.png``, the run's
checkpoints, configuration and event files.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer
from rich.console import Console
from rich.table import Table
from scipy.stats import mannwhitneyu, spearmanr

from experiments import figures as panels
from experiments.common import write_results
from experiments.demo.tapir import RoundTrace, true_level
from lit_curriculum import CurriculumCallback, CurriculumObserver, ScheduleTrace, StageReport, TapirPolicy
from lit_curriculum.callbacks.ability_monitor import AbilityMonitor
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.difficulty.engine import ScoringEngine
from lit_curriculum.difficulty.loss_metrics import InstructionFollowingDifficulty, LossRatioIFD, NegativeLogLikelihood
from lit_curriculum.report import figures
from lit_curriculum.utils.eval_mode import evaluation_mode

CONFIGS = Path(__file__).parents[2] / "configs"


class SelectedLevels(Callback, CurriculumObserver):
    """Keeps the true levels of what each stage trains on."""

    def __init__(self) -> None:
        self.by_stage: list[list[int]] = []

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        store = trainer.datamodule.train_store  # type: ignore[attr-defined]
        self.by_stage.append([true_level(store[int(i)]) for i in report.plan.indices])


METRICS = {
    "ifd": InstructionFollowingDifficulty(),
    "ifd_loss_ratio": LossRatioIFD(),
    "nll": NegativeLogLikelihood(),
}


class Truth:
    """Scores of the trained model on all training examples, beside the planted truth."""

    def __init__(self, cli: CurriculumCLI) -> None:
        store = cli.datamodule.train_store
        engine = ScoringEngine(METRICS, device=cli.model.device)
        with evaluation_mode(cli.model):
            self.scores = engine.score(cli.model, store, np.arange(len(store))).values  # type: ignore[arg-type]
        examples = [store[i] for i in range(len(store))]
        self.levels = np.array([true_level(e) for e in examples])
        self.noise = np.array([bool(e.meta.get("is_noise", False)) for e in examples])
        self.abilities = np.array([e.ability for e in examples])

    def correlation(self, metric: str) -> dict[str, float]:
        """Spearman correlation of the score with the true level within each ability, over clean examples."""
        found = {}
        for ability in sorted(set(self.abilities.tolist())):
            rows = (self.abilities == ability) & ~self.noise & np.isfinite(self.scores[metric])
            if len(set(self.levels[rows].tolist())) > 1:
                found[ability] = float(spearmanr(self.levels[rows], self.scores[metric][rows]).statistic)
        return found

    def noise_auc(self, metric: str) -> float:
        """Chance that a planted wrong answer scores above a clean example of its ability."""
        wins = [
            mannwhitneyu(self.scores[metric][mine & self.noise], self.scores[metric][mine & ~self.noise]).statistic
            / (np.sum(mine & self.noise) * np.sum(mine & ~self.noise))
            for mine in (self.abilities == a for a in sorted(set(self.abilities.tolist())))
            if np.any(mine & self.noise)
        ]
        return float(np.mean(wins))


def show(console: Console, before: dict[str, Any], after: dict[str, Any], correlation: dict[str, float]) -> None:
    """The table on the terminal."""
    table = Table(title="Exact match on validation items", title_justify="left")
    for column in ("ability", "before", "after", "chance", "IFD ~ level"):
        table.add_column(column, justify="left" if column == "ability" else "right")
    for ability in sorted(after, key=lambda a: -after[a]["accuracy"]):
        rho = f"{correlation[ability]:+.2f}" if ability in correlation else "one level"
        table.add_row(
            ability,
            f"{before[ability]['accuracy']:.2f}",
            f"{after[ability]['accuracy']:.2f}",
            f"{after[ability]['chance']:.2f}",
            rho,
        )
    console.print(table)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="iterit", help="a file of configs/curriculum")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder for all that the run writes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a tenth of the data and two stages")
    given = parser.parse_args()
    # A model that starts from random weights wants other settings than the paper's; the yaml says which and why.
    ours = f"curriculum/{given.method}_demo"
    method = ours if (CONFIGS / f"{ours}.yaml").exists() else f"curriculum/{given.method}"
    layers = ["base", "model/tiny", "data/abilities", "quickstart", method]
    args = [f"--config={CONFIGS / layer}.yaml" for layer in layers]
    args += [f"--seed_everything={given.seed}"]
    args += [f"--trainer.default_root_dir={given.out}", f"--trainer.logger.init_args.save_dir={given.out}"]
    if given.quick:
        args += ["--trainer.max_epochs=2", "--data.num_train=600", "--data.num_val_per_ability=20"]
        if given.method == "tapir":
            policy = "--curriculum.policy.init_args"
            args += ["--trainer.max_epochs=4", f"{policy}.warmup_stages=1", f"{policy}.epochs_per_round=1"]
        if given.method.startswith("campus"):
            args += ["--trainer.max_epochs=9", "--curriculum.policy.num_bands=2", "--curriculum.policy.budget_passes=1"]
    console = Console()
    started = time.perf_counter()
    cli = CurriculumCLI(args, run=False)
    monitor = next(c for c in cli.trainer.callbacks if isinstance(c, AbilityMonitor))  # type: ignore[attr-defined]
    levels = SelectedLevels()
    cli.trainer.callbacks.append(levels)  # type: ignore[attr-defined]
    trace = next((c for c in cli.trainer.callbacks if isinstance(c, ScheduleTrace)), None)  # type: ignore[attr-defined]
    curriculum = next(c for c in cli.trainer.callbacks if isinstance(c, CurriculumCallback))  # type: ignore[attr-defined]
    rounds = RoundTrace(curriculum.policy) if isinstance(curriculum.policy, TapirPolicy) else None
    if rounds is not None:
        cli.trainer.callbacks.append(rounds)  # type: ignore[attr-defined]
    given.out.mkdir(parents=True, exist_ok=True)
    cli.parser.save(cli.config, str(given.out / "config.yaml"), skip_validation=True, overwrite=True)

    cli.trainer.validate(cli.model, cli.datamodule, verbose=False)
    before = monitor.results
    cli.trainer.fit(cli.model, cli.datamodule)
    cli.trainer.validate(cli.model, cli.datamodule, verbose=False)
    after = monitor.results
    truth = Truth(cli)
    correlation = truth.correlation("ifd")

    show(console, before, after, correlation)
    console.print("Under the trained model, mean over abilities:")
    for name, metric in METRICS.items():
        rho, auc = float(np.mean(list(truth.correlation(name).values()))), truth.noise_auc(name)
        console.print(f"  {metric.formula}: rank correlation with the true level {rho:+.2f}, wrong answers score "
                      f"above clean ones with probability {auc:.2f}", highlight=False)  # fmt: skip
    figure, axes = figures.plt.subplots(1, 3, figsize=(17, 4.5))
    take = {k: {a: r[k] for a, r in after.items()} for k in ("accuracy", "chance")}
    panels.ability_bars(axes[0], {a: r["accuracy"] for a, r in before.items()}, take["accuracy"], take["chance"])
    panels.score_by_level(
        axes[1],
        truth.levels[~truth.noise],
        truth.scores["nll"][~truth.noise],
        "response loss under the trained model, nats",
    )
    panels.selected_levels(axes[2], levels.by_stage)
    figures.save(figure, given.out / "demo.png")
    rows = [
        {"name": f"accuracy/{when}/{a}", "value": r["accuracy"], "unit": "share"}
        for when, result in (("before", before), ("after", after))
        for a, r in result.items()
    ]
    for name in METRICS:
        found = truth.correlation(name)
        rows += [{"name": f"level_spearman/{name}/{a}", "value": v, "unit": "rho"} for a, v in found.items()]
        rows.append({"name": f"planted_noise_auc/{name}", "value": truth.noise_auc(name), "unit": "probability"})
    rows.append({"name": "seconds", "value": time.perf_counter() - started, "unit": "s"})
    if rounds is not None:
        rows += rounds.rows(monitor.history)
    config = {"method": given.method, "seed": given.seed, "quick": given.quick}
    write_results(given.out, rows, config)
    (given.out / "selected_levels.json").write_text(json.dumps(levels.by_stage))
    if rounds is not None:
        rounds.show(console, monitor.history)
        rounds.save(given.out, monitor.history)
        console.print(f"Levels, shares and accuracy by round: {given.out / 'tapir_rounds.png'}", highlight=False)
    if trace is not None:
        figures.save(trace.draw(), given.out / "schedule_trace.png")
        (given.out / "schedule_trace.json").write_text(
            json.dumps({"chosen": trace.chosen, "perplexities": trace.perplexities})
        )
        console.print(f"Which schedule was taught when: {given.out / 'schedule_trace.png'}", highlight=False)
    console.print(f"Figure: {given.out / 'demo.png'}    Numbers: {given.out / 'results.json'}")
    console.print(f"Look at the run: tensorboard --logdir {given.out}", highlight=False)


if __name__ == "__main__":
    main()
