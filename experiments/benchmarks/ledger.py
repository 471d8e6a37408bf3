"""What the ledger of a run costs: bytes, seconds and memory for a million examples and ten stages.

python -m experiments.benchmarks.ledger --out results/ledger [--quick]

Three kinds of run: a short list is re-scored before every stage and a twentieth is chosen (as IterIT does), all
examples are re-scored by one of two metrics and a tenth is chosen (as CAMPUS does), and all examples are trained on
in random order without scores (plain fine-tuning). Scores are random walks, so nothing compresses that would not in
a run. Each kind runs in a separate process; seconds are those of the ledger's own work.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from experiments.benchmarks.million import Generated, peak
from experiments.common import Row, print_rows, summary, write_results
from lit_curriculum import NegativeLogLikelihood, OrderedPolicy, UniformPolicy
from lit_curriculum.callbacks import ledger_tables as parts
from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.loop.planner import StagePlanner
from lit_curriculum.report.ledger import EXAMPLES, PLANNED, TRAINED, StageState, part
from lit_curriculum.types import ExampleStore, FloatArray, IntArray


class Sized(Generated):
    """The generated examples with simulated numbers of tokens."""

    def lengths(self, view: str, /) -> IntArray:
        return self.sizes.astype(np.int64) + 8

    num_scored = lengths


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of run."""

    title: str
    policy: CurriculumPolicy
    metrics: tuple[str, ...]
    static: tuple[str, ...] = ()
    """Metrics of the text, scored once."""
    rescored: float = 1.0
    """Share of the examples that is re-scored from the second stage on."""


KINDS = {
    "short_list": Kind(
        title="short list of 15 % scored anew, 5 % chosen",
        policy=OrderedPolicy("ifd", "hard_to_easy", fraction=0.05, rescore="each_stage"), metrics=("ifd",),
        rescored=0.15,
    ),
    "everything": Kind(
        title="everything scored anew by one of two metrics, 10 % chosen",
        policy=OrderedPolicy("loss", "hard_to_easy", fraction=0.1, rescore="each_stage"), metrics=("loss", "length"),
        static=("length",),
    ),
    "uniform": Kind(title="no scores, everything in random order", policy=UniformPolicy(), metrics=()),
}  # fmt: skip


def measure(name: str, num: int, stages: int, folder: Path, out: Any) -> None:
    """Write the ledger of one kind of run, and report its cost."""
    kind, store = KINDS[name], Sized(num)
    examples = cast(ExampleStore, store)
    planner = StagePlanner(kind.policy, {name: NegativeLogLikelihood() for name in kind.metrics})
    planner.setup(examples, stages)
    generator = np.random.default_rng(0)
    known: FloatArray = generator.uniform(0.2, 1.1, num)
    found: dict[str, Any] = {"stages": [], "before": peak()}
    before = None
    for stage in range(stages):
        asked = np.arange(num) if stage == 0 else np.flatnonzero(generator.random(num) < kind.rescored)
        known = known + generator.normal(0.0, 0.02, num)
        for metric in kind.metrics:
            if stage == 0 or metric not in kind.static:
                planner.table.enter(metric, asked, known[asked], stage)
        report = replace(planner.plan(stage), candidates=asked if kind.metrics else asked[:0])
        plan = report.plan
        losses = generator.gamma(2.0, 1.0, num)
        started = time.perf_counter()
        now: StageState = parts.state_of(report)
        rows = parts.planned_table(now, before, plan)
        _write(folder, PLANNED, stage, rows, parts.planned_info(report, 0))
        trained = np.unique(plan.indices)
        _write(folder, TRAINED, stage, parts.trained_table(plan.indices, trained, losses[trained]), {})
        found["stages"].append(time.perf_counter() - started)
        before = now
    found["peak"] = peak()
    started = time.perf_counter()
    parts.write_part(part(folder, EXAMPLES, 0), parts.example_tables(examples, 0, 200), parts.EXAMPLE)
    found["examples"] = time.perf_counter() - started
    out.put(found)


def _write(folder: Path, kind: str, stage: int, rows: Any, info: dict[str, Any]) -> None:
    parts.write_part(part(folder, kind, stage), rows.to_batches(1 << 17), rows.schema, info)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/ledger"))
    parser.add_argument("--stages", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="20,000 examples")
    given = parser.parse_args()
    num = 20_000 if given.quick else 1_000_000
    rows: list[Row] = []
    for name, kind in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            context = multiprocessing.get_context("fork")
            queue = context.Queue()
            process = context.Process(target=measure, args=(name, num, given.stages, Path(folder), queue))
            process.start()
            found = queue.get()
            process.join()
            sizes = {
                k: sum(p.stat().st_size for p in (Path(folder) / k).iterdir()) for k in (EXAMPLES, PLANNED, TRAINED)
            }
        decided = sizes[PLANNED] + sizes[TRAINED]
        rows += [
            {"name": f"{kind.title}: {given.stages} stages on disk", "value": decided / 1e6, "unit": "MB"},
            {"name": f"{kind.title}: of an example and stage", "value": decided / num / given.stages, "unit": "bytes"},
            summary(f"{kind.title}: a stage", found["stages"], "s"),
            {"name": f"{kind.title}: memory added", "value": (found["peak"] - found["before"]) / 1e6, "unit": "MB"},
        ]
        print_rows(rows[-4:])
    rows += [
        {"name": "examples with their beginnings, once", "value": sizes[EXAMPLES] / 1e6, "unit": "MB"},
        {"name": "examples with their beginnings, once: time", "value": found["examples"], "unit": "s"},
    ]
    print_rows(rows[-2:])
    write_results(given.out, rows, {"examples": num, "stages": given.stages, "seed": 0})


if __name__ == "__main__":
    main()
