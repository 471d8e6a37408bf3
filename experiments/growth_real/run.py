"""How do five abilities of real instruction data grow with their rows, in a pretrained model?

Mathematics with levels, code, role-play, instruction induction and multiple choice, at three rungs of rows an ability.
All cells take the same number of steps, so a small rung sees its rows many times. Every ability is measured by the loss
on held-out answers; induction and choice also by exact match of the whole answer and its end. Few items, few seeds and
few steps: the class is "undetermined" wherever the interval says so.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.common import Row, print_rows, write_results
from experiments.growth_real.data import SOURCES, write_data
from experiments.growth_study.run import make_cli
from lit_curriculum.methods.doit.command import train_cell
from lit_curriculum.methods.doit.growth_report import write_report
from lit_curriculum.methods.doit.study.growth_records import GrowthRecord
from lit_curriculum.methods.doit.study.sensitivity import AbilityGrowth, analyse, report_rows
from lit_curriculum.methods.doit.study.study import GrowthCell, GrowthStudy, Size, cells, run_study

CONFIGS = Path(__file__).parents[2] / "configs"
EXACT = tuple(name for name, source in SOURCES.items() if source.chance is not None)
ADAPTED = [f"layers.{n}.{part}" for n in range(20, 30) for part in (
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
)]  # fmt: skip
"""The upper third of SmolLM2-135M's layers: nothing below them needs a backward pass, which makes it affordable."""
DELTA = 0.02  # nats, or points of the chance-corrected score over 100, per quadrupling


def main() -> None:
    """Run or continue the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the files of training data")
    parser.add_argument("--out", type=Path, default=Path("results/growth_real"))
    parser.add_argument("--work", type=Path, default=Path("runs/growth_real"), help="folder of the cells")
    parser.add_argument("--model", default="smollm2", help="a file of configs/model")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rungs", type=int, nargs="+", default=[6, 24, 96])
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3, help="of the adapter")
    parser.add_argument("--rank", type=int, default=16, help="of the adapter")
    parser.add_argument("--items", type=int, default=32, help="held-out items of an ability, other ones for each seed")
    parser.add_argument("--cell", type=int, default=None, help="train this cell alone, for several processes")
    parser.add_argument("--quick", action="store_true", help="one seed, two steps, four items")
    given = parser.parse_args()
    seeds, updates, items = (1, 2, 4) if given.quick else (given.seeds, given.updates, given.items)
    num_train = max(given.rungs)
    # Written by whichever process comes first; the others must not read half a file.
    if not (given.work / "train.jsonl").exists():
        write_data(given.work, given.data, 2 * num_train, items, seeds)
    study = GrowthStudy(
        configs=[str(CONFIGS / f"{layer}.yaml") for layer in ("base", f"model/{given.model}")],
        abilities=dict.fromkeys(SOURCES, 2 * num_train),
        args=[
            f"--data.init_args.path={given.work / 'train.jsonl'}",
            "--data.init_args.eval_batch_size=8", f"--trainer.accelerator={given.accelerator}",
            f"--trainer.precision={given.precision}", "--model.init_args.init_seed=0",
            f"--model.init_args.optimizer.init_args.lr={given.lr}",
            f"--model.init_args.lora.rank={given.rank}", f"--model.init_args.lora.target_modules={json.dumps(ADAPTED)}",
        ],
        sizes={given.model: Size(params=135e6)},
        seeds=tuple(range(seeds)), rungs=tuple(given.rungs), match="updates", epochs=1, updates=updates,
        batch_size=given.batch_size, select_by="nll", delta=DELTA,
    )  # fmt: skip

    def train(cell: GrowthCell) -> list[GrowthRecord]:
        val = f"--data.init_args.val_path={given.work / f'val-{cell.seed}.jsonl'}"
        return train_cell(make_cli, dataclasses.replace(study, args=[*study.args, val]), cell)

    records = run_study(study, given.work, train, given.cell)
    done = len({r.cell for r in records})
    if done < len(cells(study)):
        print(f"{done} of {len(cells(study))} cells are done")
        return
    by_loss = analyse(records, study.delta, measure="nll")
    by_score = analyse([r for r in records if r.ability in EXACT], study.delta)
    found = [*by_loss, *by_score]
    rows: list[Row] = report_rows(found)
    rows += [row for a in found for row in rung_rows(a)] + repetition(records)
    options = {k: v for k, v in dataclasses.asdict(study).items() if k not in ("configs", "args")}
    options |= {"items": items, "model": given.model, "precision": given.precision, "lr": given.lr, "rank": given.rank}
    files = sorted({given.data / source.file for source in SOURCES.values()})
    write_results(given.out, rows, options, files)
    (given.out / "fits.json").write_text(json.dumps([a.to_json() for a in found], indent=1) + "\n", encoding="utf-8")
    for name, part in (("loss", by_loss), ("exact", by_score)):
        write_report(given.out / name, report_rows(part), [a.to_json() for a in part])
        (given.out / name / "classes.json").unlink()  # the same rows are in results.json
    shutil.copy(given.work / "records.jsonl", given.out / "records.jsonl")
    print_rows(rows)


def rung_rows(growth: AbilityGrowth) -> list[Row]:
    """The curve's points with their intervals."""
    what, unit = ("held-out loss", "nats") if growth.measure == "nll" else ("exact match", "share")
    return [
        {"name": f"{growth.ability}, {n} rows: {what}", "value": m.value, "unit": unit, "low": m.low, "high": m.high,
         "n": growth.num_seeds}
        for n, m in zip(growth.rungs, growth.means, strict=True)
    ]  # fmt: skip


def repetition(records: Sequence[GrowthRecord]) -> list[Row]:
    """How often the cells of a rung have seen each of their rows."""
    rungs = sorted({r.rung for r in records})
    seen = {n: float(np.mean([r.n_seen / r.n_unique for r in records if r.rung == n])) for n in rungs}
    return [{"name": f"{n} rows: times each was seen", "value": seen[n], "unit": "times"} for n in rungs]


if __name__ == "__main__":
    main()
