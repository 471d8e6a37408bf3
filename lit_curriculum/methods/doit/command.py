"""``lit-curriculum growth run|fit|report``: a study of how abilities grow with their data."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.cli import LightningCLI
from torch.utils.tensorboard import SummaryWriter

from lit_curriculum.methods.doit.growth_report import (
    curve_figure,
    report_text,
    sensitivity_figure,
    transfer_figure,
    write_report,
)
from lit_curriculum.methods.doit.study.findings import find
from lit_curriculum.methods.doit.study.growth_records import BASE, GrowthRecord
from lit_curriculum.methods.doit.study.sensitivity import report_rows
from lit_curriculum.methods.doit.study.study import (
    GrowthCell,
    GrowthStudy,
    cells,
    load_study,
    merge,
    run_study,
    stage_size,
)
from lit_curriculum.methods.doit.tracker import AbilityGrowthTracker, overall_scalars
from lit_curriculum.utils.command_parser import CommandParser
from lit_curriculum.utils.progress import display

MakeCLI = Callable[[Sequence[str], bool], LightningCLI]
"""Builds model, data module and trainer from (options of ``lit-curriculum fit``, whether to run it)."""


def write_events(
    folder: Path,
    records: Sequence[GrowthRecord],
    fits: Sequence[Mapping[str, Any]],
    findings: Mapping[str, Any],
    smooth: float | None = None,
) -> None:
    """Write event files into ``folder``; the step, and so the index of the refit, is the number of finished cells.

    ``growth/curves/{ability}``, ``growth/sensitivity``, ``growth/transfer`` (figures) and ``growth/report`` (text)
    are in the folder itself; ``growth/{ability}/slope``, ``slope_lo``, ``slope_hi`` and ``n_sat``, where a curve
    saturates within its rungs, in a run for each arm and size; hyperparameters and plain means in one for each cell.

    Args:
        folder: Made where it does not exist.
        records: Of all finished cells.
        fits: As ``fits.json`` holds them.
        findings: As ``findings.json`` holds them.
        smooth: See :func:`~lit_curriculum.methods.doit.growth_report.growth_curve`.
    """
    cells: dict[str, list[GrowthRecord]] = defaultdict(list)
    for r in records:
        if r.selected:
            cells[r.cell].append(r)
    step = len(cells)
    with SummaryWriter(str(folder)) as writer:
        for ability in sorted({f["ability"] for f in fits}):
            figure = curve_figure([f for f in fits if f["ability"] == ability], smooth)
            writer.add_figure(f"growth/curves/{ability}", figure, step)
        writer.add_figure("growth/sensitivity", sensitivity_figure(fits, findings["sizes"]), step)
        if findings["transfer"] is not None:
            writer.add_figure("growth/transfer", transfer_figure(findings["transfer"]), step)
        writer.add_text("growth/report", report_text(fits, findings), step)
        for name, mine in cells.items():
            first = mine[0]
            total = sum({r.ability: r.n_unique for r in mine}.values())
            options = {"arm": first.arm, "total": total, "size": first.size, "seed": first.seed, "plan": name}
            writer.add_hparams(options, overall_scalars(mine), run_name=f"cells/{name}", global_step=first.step)
    for arm, size in sorted({(f["arm"], f["size"]) for f in fits}):
        with SummaryWriter(str(folder / f"{arm}-{size}")) as writer:
            for fit in fits:
                if (fit["arm"], fit["size"]) == (arm, size):
                    _slopes(writer, fit, step)


def _slopes(writer: SummaryWriter, fit: Mapping[str, Any], step: int) -> None:
    slope, ability = fit["slope"], fit["ability"]
    for name, value in (
        ("slope", slope["value"]),
        ("slope_lo", slope["low"]),
        ("slope_hi", slope["high"]),
        ("n_sat", fit["saturation_rows"]),
    ):
        if value is not None:
            writer.add_scalar(f"growth/{ability}/{name}", value, step)


def growth_command(make_cli: MakeCLI, args: Sequence[str]) -> None:
    """Run the cells of a study, fit its curves, or write its report; ``run`` resumes where it stopped.

    Raises:
        ValueError: the study's yaml has a wrong option, or there is nothing to fit yet.
    """
    parser = CommandParser("growth", "Run the cells of a study of growth, fit its curves, or write its report.")
    parser.add_argument("what", choices=("run", "fit", "report"))
    parser.add_argument("--study", type=Path, required=True, help="the study's yaml")
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--cell", type=int, default=None, help="train this cell alone, for array jobs")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamples of items and seeds")
    parser.add_argument("--tensorboard", action="store_true", help="report: also write event files, to OUT/tensorboard")
    parser.add_argument("--smooth", type=float, default=None, help="report: draw means smoothed by so many rungs too")
    given = parser.parse_args(args)
    study = load_study(given.study)
    if given.what == "run":
        with display("Growth study", " cells") as progress:
            records = run_study(study, given.out, partial(train_cell, make_cli, study), given.cell, progress)
        done = len({r.cell for r in records})
        print(f"{done} of {len(cells(study))} cells are done; {given.out / 'records.jsonl'}")
        return
    records = merge(study, given.out)
    if not records:
        raise ValueError(f"{given.out} holds no finished cell; train some with lit-curriculum growth run.")
    found = find(records, study.delta, given.bootstrap, study.select_by)
    fits, findings = [a.to_json() for a in found.curves], found.to_json()
    for name, content in (("fits", fits), ("findings", findings)):
        (given.out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if given.what == "report":
        write_report(given.out, report_rows(found.curves), fits, findings, given.smooth)
        if given.tensorboard:
            write_events(given.out / "tensorboard", records, fits, findings, given.smooth)
    print(given.out / "fits.json")


def train_cell(make_cli: MakeCLI, study: GrowthStudy, cell: GrowthCell) -> list[GrowthRecord]:
    """Train one cell; its checkpoints are validations, and nothing of the run stays on disk but its records."""
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        cli = make_cli([*cell_options(study, cell), f"--trainer.default_root_dir={folder}"], False)
        tracker = AbilityGrowthTracker(
            ood=list(study.ood), cell=cell.id, arm=cell.arm, size=cell.size, params=cell.params, seed=cell.seed,
            rung=cell.rung, valid=study.epochs > 1, answers=study.answers, parsers=dict(study.parsers),
            max_new_tokens=study.max_new_tokens, max_items=study.max_items,
        )  # fmt: skip
        cli.trainer.callbacks.append(tracker)  # type: ignore[attr-defined]
        if cell.arm == BASE:
            cli.trainer.validate(cli.model, cli.datamodule, verbose=False)
        else:
            cli.trainer.fit(cli.model, cli.datamodule)
        return tracker.history


def cell_options(study: GrowthStudy, cell: GrowthCell) -> list[str]:
    """The cell as options of ``lit-curriculum fit`` or ``plan``."""
    args = [f"--config={c}" for c in study.configs]
    # The curriculum's seed too: the config.yaml of a run, taken as a layer, names one, which all cells would share.
    args += [
        *_policy(study, cell), f"--curriculum.seed={cell.seed}", f"--seed_everything={cell.seed}",
        f"--trainer.max_epochs={study.epochs}", "--trainer.logger=false", "--trainer.callbacks=[]",
        "--trainer.enable_checkpointing=false", "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false", f"--data.init_args.batch_size={study.batch_size}", *study.args,
        *study.sizes[cell.size].args,
    ]  # fmt: skip
    seed = [] if study.data_seed_option is None else [f"--{study.data_seed_option}={cell.seed}"]
    return args + seed


def _policy(study: GrowthStudy, cell: GrowthCell) -> list[str]:
    """Options of the policy that trains on the cell's plan; nothing is trained on before training."""
    if cell.arm == BASE:
        return ["--curriculum.policy=lit_curriculum.UniformPolicy"]
    rows, tokens = stage_size(study)
    options = {
        "counts": json.dumps(dict(cell.plan.counts)), "select": cell.plan.select, "select_seed": cell.plan.seed,
        "rows_per_stage": json.dumps(rows), "tokens_per_stage": json.dumps(tokens),
    }  # fmt: skip
    return [
        "--curriculum.policy=lit_curriculum.AbilityMixturePolicy",
        *(f"--curriculum.policy.init_args.{name}={value}" for name, value in options.items()),
    ]
