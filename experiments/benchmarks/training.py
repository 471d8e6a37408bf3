"""Speed of training: our loop with packing, the Trainer of transformers, and TRL's SFTTrainer, by turns in one run.

python -m experiments.benchmarks.training --out DIR --data FILE [--keep FIELD] [--rows N] [--rounds N]
python -m experiments.benchmarks.training --out DIR --quick

All train one epoch over the same tokens from the same weights, with the loss on responses. TRL is not among the
dependencies (pip install trl==1.16.0). Every measurement is written as it is made: rerun the same command to resume.
One that did not get the CPU for nine tenths of its time is made again, as in the scoring benchmark.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from experiments.benchmarks.scoring import ATTEMPTS, Log, yardstick
from experiments.benchmarks.scoring_data import QUICK, add_row_options, choose_rows, datamodule
from experiments.benchmarks.training_contenders import APART, CONTENDERS, GROUPED, OURS, PACKED, Setting
from experiments.common import Row, print_rows, summary, write_results
from lit_curriculum.types import CONDITIONED

ROW_LENGTH = 512
"""Tokens of a packed row of TRL; longer examples are left out, so that none has to be cut."""


def measure(log: Log, setting: Setting, rounds: int) -> None:
    """All rounds, in turned order."""
    names = list(CONTENDERS)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            while not log.has("time", name, "float32", number):
                product = yardstick(torch.device("cpu"))
                run = CONTENDERS[name](setting)
                log.add("time", name, "float32", number, product=product, **asdict(run))


def report(found: Sequence[dict[str, Any]], num_tokens: int) -> list[Row]:
    """Tokens a second, and ratios within a round between neighbours in time."""
    timed = {name: {m["round"]: m for m in found if m["name"] == name} for name in CONTENDERS}
    rows = [
        summary(f"{name}: non-padding tokens", [num_tokens / m["seconds"] for m in measured.values()], "tokens/s")
        for name, measured in timed.items()
    ]
    losses = [(name, [m["loss"] for m in measured.values()]) for name, measured in timed.items()]
    rows += [summary(f"{name}: mean loss of the steps", found, "nats") for name, found in losses]
    for fast in (OURS, APART):
        for slow in (GROUPED, PACKED):
            a, b = timed[fast], timed[slow]
            both = [n for n in a if n in b]
            rows.append(
                summary(f"{fast} over {slow}: speed", [b[n]["seconds"] / a[n]["seconds"] for n in both], "times")
            )
            products = [b[n]["seconds"] / b[n]["product"] / (a[n]["seconds"] / a[n]["product"]) for n in both]
            rows.append(summary(f"{fast} over {slow}: in products", products, "times"))
            shares = [b[n]["processor"] / a[n]["processor"] for n in both]
            rows.append(summary(f"{fast} over {slow}: in processor time", shares, "times"))
    return rows


def main() -> None:
    """Run the rounds that are missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for rounds.jsonl and results.json")
    add_row_options(parser, 48)
    parser.add_argument("--batch-size", type=int, default=16, help="examples in a step")
    parser.add_argument(
        "--attempts", type=int, default=ATTEMPTS,
        help="of a disturbed measurement; 1 where the machine is always busy and CPU time is read",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a tiny random model, 24 rows, 2 rounds")
    options = parser.parse_args()
    if find_spec("trl") is None:
        parser.error("TRL, one of the trainers that are timed, is not installed; pip install trl==1.16.0.")
    source = options.model
    if options.quick:
        source, options.rows, options.rounds = QUICK, 24, 2
    warnings.filterwarnings("ignore", module="lightning|transformers|trl")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = choose_rows(options.data, options.keep, options.rows)
        data = datamodule(records, source, folder, options.batch_size, ROW_LENGTH)
        setting = Setting(data, source, options.batch_size, ROW_LENGTH, folder)
        config: dict[str, Any] = {
            "model": Path(source).name, "device": "cpu", "threads": torch.get_num_threads(),
            "rows": len(data.train_store), "drawn": options.rows, "keep": options.keep, "row_seed": 0,
            "rounds": options.rounds, "batch_size": options.batch_size, "tokens": setting.num_tokens,
            "trl_row_length": setting.row_length, "trl_rows_per_step": setting.rows_per_step,
            "scored_share": float(data.train_store.num_scored(CONDITIONED).sum()) / setting.num_tokens,
            "data": None if options.data is None else options.data.name,
        }  # fmt: skip
        log = Log(options.out / "rounds.jsonl", config, options.attempts)
        measure(log, setting, options.rounds)
    rows = report(log.counting, setting.num_tokens)
    path = write_results(options.out, rows, config, [options.data] if options.data is not None else [])
    print_rows(rows)
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
