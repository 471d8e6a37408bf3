"""What every experiment shares: timing with the machine's own speed beside it, provenance, and the results file."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lit_curriculum.callbacks.run_card import installed_version
from lit_curriculum.data.formats import to_example
from lit_curriculum.data.records import read_records
from lit_curriculum.utils.jsonl_log import JsonlLog

K = TypeVar("K")
V = TypeVar("V")

PACKAGES = ("lit-curriculum", "torch", "lightning", "transformers", "datasets", "numpy", "scipy", "scikit-learn")
Row = dict[str, str | float | int]
SILENT = (
    "--trainer.logger=false", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
    "--trainer.enable_checkpointing=false", "--trainer.limit_val_batches=0",
)  # fmt: skip
"""Options of the command line for a run of which only its results are kept."""


@dataclass
class Timing:
    """Seconds of every round of one contender, and of the yardstick run right before it."""

    seconds: list[float] = field(default_factory=list)
    yardstick: list[float] = field(default_factory=list)
    """Seconds of one product of two 1024 x 1024 float32 matrices: how fast the machine was at that moment."""

    def rows(self, name: str, per: float = 1.0) -> list[Row]:
        """Rows of the results file: seconds (divided by ``per``) and the same in matrix products."""
        in_products = [s / y for s, y in zip(self.seconds, self.yardstick, strict=True)]
        return [
            summary(name, [s / per for s in self.seconds], "s"),
            summary(f"{name}, in matrix products", [p / per for p in in_products], "products"),
        ]


def summary(name: str, values: Sequence[float], unit: str) -> Row:
    """A row of the results file: median, lowest, highest and number of ``values``."""
    return {
        "name": name,
        "value": statistics.median(values),
        "unit": unit,
        "low": min(values),
        "high": max(values),
        "n": len(values),
    }


def time_interleaved(
    contenders: Mapping[str, Callable[[], object]], rounds: int = 5, warmup: int = 1
) -> dict[str, Timing]:
    """Time contenders by turns, so that a slow moment of the machine hits all of them.

    Args:
        contenders: What to call, by name; the order rotates from round to round.
        rounds: Timed rounds.
        warmup: Rounds before, not timed.
    """
    names = list(contenders)
    timings = {name: Timing() for name in names}
    factors = np.random.default_rng(0).random((2, 1024, 1024), dtype=np.float32)
    for number in range(-warmup, rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            started = time.perf_counter()
            np.matmul(factors[0], factors[1])
            between = time.perf_counter()
            contenders[name]()
            ended = time.perf_counter()
            if number >= 0:
                timings[name].yardstick.append(between - started)
                timings[name].seconds.append(ended - between)
    return timings


_CODE = (":(top)", ":(top,exclude)results")
"""All but the results, which are written by what is run and change nothing of it."""


def provenance(files: Sequence[Path] = ()) -> dict[str, Any]:
    """Where a number comes from: commit, versions, machine, threads and the hashes of the data read.

    Args:
        files: Data files, hashed as they lie on disk.
    """
    return {
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no", "--", *_CODE)),
        "python": platform.python_version(),
        "packages": {name: installed_version(name) for name in PACKAGES},
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "data": {path.name: _sha256(path) for path in files},
    }


def write_results(
    out_dir: Path,
    rows: Sequence[Mapping[str, str | float | int]],
    config: Mapping[str, Any],
    files: Sequence[Path] = (),
) -> Path:
    """Write ``out_dir/results.json``, a list of rows, and beside it ``provenance.json``: where they come from.

    Args:
        out_dir: Made where it does not exist.
        rows: Each with ``name``, ``value`` and ``unit``, and where there are several measurements ``low``, ``high``
            and ``n``.
        config: Options and seeds of the run; written to ``provenance.json`` with :func:`provenance`.
        files: Data files that the run read.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / "results.json"
    source = {"config": dict(config), **provenance(files)}
    contents = {path: [dict(row) for row in rows], out_dir / "provenance.json": source}
    for target, content in contents.items():
        target.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def open_log(path: Path, parse: Callable[[dict[str, Any]], tuple[K, V]], what: str, config: Any) -> JsonlLog[K, V]:
    """Open a log of finished measurements that begins with their options; see ``JsonlLog``.

    Raises:
        SystemExit: the file is of other options, or broken.
    """
    try:
        return JsonlLog(path, parse, what, header=config)
    except ValueError as error:
        raise SystemExit(str(error)) from error


def benchmark_options(description: str | None, quick: str) -> tuple[argparse.Namespace, list[Path]]:
    """The options ``out``, ``quick`` and ``data`` of a benchmark that can also measure a file, and the files it reads.

    Args:
        description: Docstring of the benchmark.
        quick: What ``--quick`` does.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json")
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--data", type=Path, help="also measure on the responses of this file of instruction data")
    options = parser.parse_args()
    return options, [] if options.data is None else [options.data]


def print_rows(rows: Sequence[Row]) -> None:
    """Show the rows as a table."""
    width = max(len(str(row["name"])) for row in rows)
    for row in rows:
        spread = f"  [{row['low']:.4g} .. {row['high']:.4g}, n={row['n']}]" if "n" in row else ""
        print(f"{row['name']:<{width}}  {row['value']:>10.5g} {row['unit']}{spread}")


def read_responses(path: Path, limit: int | None = None) -> list[str]:
    """The responses of a file of instruction data, the first ``limit`` of them; unreadable records are left out."""
    records = ((r.fields, r.source) for r in read_records([str(path)]) if r.fields is not None)
    return [to_example(fields, source).response for fields, source in islice(records, limit)]


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
