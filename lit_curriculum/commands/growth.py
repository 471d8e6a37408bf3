"""``lit-curriculum growth run|fit|report``: a study of how abilities grow with their data."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lit_curriculum.callbacks.growth import AbilityGrowthTracker
from lit_curriculum.commands.configured import MakeCLI
from lit_curriculum.growth.records import GrowthRecord
from lit_curriculum.growth.study import GrowthCell, GrowthStudy, cells, load_study, merge, run_study, stage_size


def growth_command(make_cli: MakeCLI, args: Sequence[str]) -> None:
    """Run the cells of a study, fit its curves, or write its report; ``run`` goes on where it stopped.

    Raises:
        ValueError: the study's yaml has a wrong option, or there is nothing to fit yet.
    """
    parser = argparse.ArgumentParser("lit-curriculum growth", description=growth_command.__doc__, allow_abbrev=False)
    parser.add_argument("what", choices=("run", "fit", "report"))
    parser.add_argument("--study", type=Path, required=True, help="the study's yaml")
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--cell", type=int, default=None, help="train this cell alone, for array jobs")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamples of items and seeds")
    given = parser.parse_args(list(args))
    study = load_study(given.study)
    if given.what == "run":
        records = run_study(study, given.out, partial(train_cell, make_cli, study), given.cell)
        done = len({r.cell for r in records})
        print(f"{done} of {len(cells(study))} cells are done; {given.out / 'records.jsonl'}")
        return
    # Only these two need the extra ``growth``, so that cells can be trained without it.
    from lit_curriculum.growth.sensitivity import analyse, report_rows
    from lit_curriculum.report.growth import write_report

    records = merge(study, given.out)
    if not records:
        raise ValueError(f"{given.out} holds no finished cell; train some with lit-curriculum growth run.")
    found = analyse(records, study.delta, given.bootstrap, measure=study.select_by)
    path = given.out / "fits.json"
    path.write_text(json.dumps([a.to_json() for a in found], indent=1) + "\n", encoding="utf-8")
    if given.what == "report":
        write_report(given.out, report_rows(found), [a.to_json() for a in found])
    print(path)


def train_cell(make_cli: MakeCLI, study: GrowthStudy, cell: GrowthCell) -> list[GrowthRecord]:
    """Train one cell; its checkpoints are validations, and nothing of the run stays on disk but its records."""
    rows, tokens = stage_size(study)
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        args = [f"--config={c}" for c in study.configs]
        args += [
            "--curriculum.policy=lit_curriculum.curriculum.AbilityMixturePolicy",
            f"--curriculum.policy.init_args.counts={json.dumps(dict(cell.plan.counts))}",
            f"--curriculum.policy.init_args.select={cell.plan.select}",
            f"--curriculum.policy.init_args.select_seed={cell.plan.seed}",
            f"--curriculum.policy.init_args.rows_per_stage={json.dumps(rows)}",
            f"--curriculum.policy.init_args.tokens_per_stage={json.dumps(tokens)}",
            f"--curriculum.seed={cell.seed}",
            f"--seed_everything={cell.seed}",
            f"--trainer.max_epochs={study.epochs}",
            f"--trainer.default_root_dir={folder}",
            "--trainer.logger=false",
            "--trainer.callbacks=[]",
            "--trainer.enable_checkpointing=false",
            "--trainer.enable_progress_bar=false",
            "--trainer.enable_model_summary=false",
            f"--data.init_args.batch_size={study.batch_size}",
            *study.args,
            *study.sizes[cell.size].args,
        ]
        if study.data_seed_option is not None:
            args.append(f"--{study.data_seed_option}={cell.seed}")
        cli = make_cli(args, False)
        tracker = AbilityGrowthTracker(
            ood=list(study.ood), cell=cell.id, arm=cell.arm, size=cell.size, params=cell.params, seed=cell.seed,
            rung=cell.rung, valid=study.epochs > 1,
        )  # fmt: skip
        cli.trainer.callbacks.append(tracker)  # type: ignore[attr-defined]
        cli.trainer.fit(cli.model, cli.datamodule)
        return tracker.history
