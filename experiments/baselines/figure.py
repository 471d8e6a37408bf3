"""Figures of a finished comparison of baselines, from its ``results.json`` alone.

python -m experiments.baselines.figure [--out results/baselines]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from experiments.ablation import forest
from experiments.baselines.method import RANDOM
from experiments.common import Row
from experiments.verdicts import RESULTS

MEASURE = "held-out loss"


def draw(folder: Path) -> list[Path]:
    """Write one figure for each kind of method: differences in held-out loss to the random control of its kind."""
    table: list[Row] = sorted(json.loads((folder / "results.json").read_text()), key=lambda row: row["value"])
    written = []
    for kind, control in RANDOM.items():
        written.append(folder / f"{kind}.png")
        forest(table, written[-1], [MEASURE], control)
    return [path for path in written if path.exists()]


def main(args: Sequence[str] | None = None) -> None:
    """Draw the figures of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "baselines")
    for path in draw(parser.parse_args(args).out):
        print(path)


if __name__ == "__main__":
    main()
