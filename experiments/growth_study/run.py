"""Does the study recover what was planted in the generated abilities?

Trains every cell of ``configs/growth/embedded.yaml`` that is not there yet, fits the curves, and writes figures, the
table of classes and the results. Planted: noise cannot be learnt (resistant), echo is learnt from few rows
(saturated), lookup has to be learnt fact by fact (responsive to volume: responsive or accelerating).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from functools import partial
from pathlib import Path

from experiments.common import print_rows, write_results
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.methods.doit.command import train_cell
from lit_curriculum.methods.doit.growth_report import write_report
from lit_curriculum.methods.doit.study.growth_records import write_records
from lit_curriculum.methods.doit.study.sensitivity import analyse, report_rows
from lit_curriculum.methods.doit.study.study import cells, load_study, run_study

STUDY = Path(__file__).parents[2] / "configs" / "growth" / "embedded.yaml"
PLANTED = {"noise": ("resistant",), "echo": ("saturated",), "lookup": ("responsive", "accelerating")}


def make_cli(args: list[str], run: bool) -> CurriculumCLI:
    """The command line's own parts."""
    return CurriculumCLI(args, run=run)


def main() -> None:
    """Run or continue the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/growth_study"))
    parser.add_argument("--work", type=Path, default=Path("runs/growth_study"), help="folder of the cells")
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--cell", type=int, default=None, help="train this cell alone, for array jobs")
    parser.add_argument("--quick", action="store_true", help="one seed, three rungs, few steps")
    given = parser.parse_args()
    study = load_study(given.study)
    if given.quick:
        study = dataclasses.replace(study, seeds=(0,), rungs=(1, 8, 64), updates=8, epochs=2, min_epoch=1)
    records = run_study(study, given.work, partial(train_cell, make_cli, study), given.cell)
    if len({r.cell for r in records}) < len(cells(study)):
        print(f"{len({r.cell for r in records})} of {len(cells(study))} cells are done")
        return
    found = analyse(records, study.delta)
    rows = report_rows(found)
    for a in found:
        if a.ability in PLANTED:
            right = float(a.growth_class in PLANTED[a.ability])
            rows.append({"name": f"{a.ability}: planted truth recovered", "value": right, "unit": "yes = 1"})
        rows += [
            {
                "name": f"{a.ability}, {n} rows: exact match", "value": m.value, "unit": "share", "low": m.low,
                "high": m.high, "n": a.num_seeds,
            }
            for n, m in zip(a.rungs, a.means, strict=True)
        ]  # fmt: skip
    options = {k: v for k, v in dataclasses.asdict(study).items() if k not in ("configs", "args")}
    write_results(given.out, rows, {**options, "study": given.study.name}, [given.study])
    fits = [a.to_json() for a in found]
    (given.out / "fits.json").write_text(json.dumps(fits, indent=1) + "\n", encoding="utf-8")
    write_report(given.out, rows, fits)
    (given.out / "classes.json").unlink()  # the same rows are in results.json
    kept = [dataclasses.replace(r, item_nll=()) for r in records if r.selected and r.split == "test"]
    write_records(given.out / "records.jsonl", [r for r in kept if r.group == "in_domain"])
    print_rows(rows)


if __name__ == "__main__":
    main()
