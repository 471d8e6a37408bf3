"""How do four abilities of real instruction data grow with their rows, in a pretrained model?

Competition mathematics, code, role-play and instruction induction; the loss on held-out answers, at three rungs of rows
an ability. All cells take the same number of steps, so a small rung sees its rows many times. Few items, few seeds and
few steps: the class is "undetermined" wherever the interval says so.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import shutil
from collections.abc import Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from experiments.common import print_rows, write_results
from experiments.growth_study.run import make_cli
from lit_curriculum.commands.growth import train_cell
from lit_curriculum.growth.sensitivity import analyse, report_rows
from lit_curriculum.growth.study import GrowthStudy, Size, cells, run_study
from lit_curriculum.report.growth import write_report

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = {
    "math": "math_levels_4500.jsonl.gz",
    "code": "gpteacher_code_4k.jsonl.gz",
    "role_play": "gpteacher_roleplay_2k.jsonl.gz",
    "induction": "instruction_induction.jsonl.gz",
}
INDUCTION = {  # what the tasks ask, in our own words: the records hold inputs and outputs alone
    "active_to_passive": "Turn the sentence into the passive voice.",
    "antonyms": "Give a word that means the opposite.",
    "num_to_verbal": "Write the number in words.",
    "singular_to_plural": "Give the plural.",
    "larger_animal": "Which of the two animals is larger?",
    "negation": "Negate the sentence.",
}
MAX_CHARACTERS = 400
DELTA = 0.02  # nats per quadrupling


def conversations(ability: str, path: Path) -> Iterator[tuple[str, str]]:
    """Instructions and answers that are short enough."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row: dict[str, Any] = json.loads(line)
            if ability == "induction":
                if row["task"] not in INDUCTION:
                    continue
                row["instruction"] = INDUCTION[row["task"]]
            prompt = "\n\n".join(part for part in (row["instruction"], row["input"]) if part)
            if row["output"] and len(prompt) + len(row["output"]) <= MAX_CHARACTERS:
                yield prompt, str(row["output"])


def write_data(folder: Path, data: Path, num_train: int, num_items: int) -> None:
    """``train.jsonl`` and ``val.jsonl``: rows in an order by content hash, the first ones held out."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: (folder / f"{name}.jsonl").open("w", encoding="utf-8") for name in ("train", "val")}
    for ability, name in FILES.items():
        found = sorted(
            dict.fromkeys(conversations(ability, data / name)),
            key=lambda pair: blake2b("\0".join(pair).encode()).digest(),
        )  # fmt: skip
        for number, (prompt, answer) in enumerate(found[: num_items + num_train]):
            messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
            row = {"messages": messages, "ability": ability}
            files["val" if number < num_items else "train"].write(json.dumps(row) + "\n")
    for file in files.values():
        file.close()


def main() -> None:
    """Run or continue the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the four files of training data")
    parser.add_argument("--out", type=Path, default=Path("results/growth_real"))
    parser.add_argument("--work", type=Path, default=Path("runs/growth_real"))
    parser.add_argument("--model", default="smollm2", help="a file of configs/model")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rungs", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--updates", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-4, help="higher than in longer training: the steps are few")
    parser.add_argument("--items", type=int, default=16, help="held-out items of an ability")
    parser.add_argument("--quick", action="store_true", help="one seed, two steps, four items")
    given = parser.parse_args()
    seeds, updates, items = (1, 2, 4) if given.quick else (given.seeds, given.updates, given.items)
    num_train = max(given.rungs)
    write_data(given.work, given.data, 4 * num_train, items)
    study = GrowthStudy(
        configs=[str(CONFIGS / f"{layer}.yaml") for layer in ("base", f"model/{given.model}")],
        abilities=dict.fromkeys(FILES, num_train),
        args=[
            f"--data.init_args.path={given.work / 'train.jsonl'}",
            f"--data.init_args.val_path={given.work / 'val.jsonl'}",
            "--data.init_args.eval_batch_size=8", f"--trainer.accelerator={given.accelerator}",
            f"--trainer.precision={given.precision}", f"--model.init_args.optimizer.init_args.lr={given.lr}",
        ],
        sizes={given.model: Size(params=135e6)},
        seeds=tuple(range(seeds)), rungs=tuple(given.rungs), match="updates", epochs=1, updates=updates, batch_size=4,
        select_by="nll", delta=DELTA,
    )  # fmt: skip
    records = run_study(study, given.work, partial(train_cell, make_cli, study))
    assert len({r.cell for r in records}) == len(cells(study))
    found = analyse(records, study.delta, measure="nll")
    rows = report_rows(found)
    rows += [
        {"name": f"{a.ability}, {n} rows: held-out loss", "value": m.value, "unit": "nats", "low": m.low,
         "high": m.high, "n": a.num_seeds}
        for a in found for n, m in zip(a.rungs, a.means, strict=True)
    ]  # fmt: skip
    options = {k: v for k, v in dataclasses.asdict(study).items() if k not in ("configs", "args")}
    options |= {"items": items, "model": given.model, "precision": given.precision, "lr": given.lr}
    write_results(
        given.out, rows, options,
        [given.data / name for name in FILES.values()],
    )  # fmt: skip
    fits = [a.to_json() for a in found]
    (given.out / "fits.json").write_text(json.dumps(fits, indent=1) + "\n", encoding="utf-8")
    write_report(given.out, rows, fits)
    (given.out / "classes.json").unlink()  # the same rows stand in results.json
    shutil.copy(given.work / "records.jsonl", given.out / "records.jsonl")
    print_rows(rows)


if __name__ == "__main__":
    main()
