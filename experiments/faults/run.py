"""Kill training runs at random moments, resume them, and compare with the run that was never killed.

Every disturbed run has one to three faults, each in a separate attempt, and is resumed until it is done. It is
identical where every batch that it ever trained on (those repeated after a resume included) has the same example
ids and bit-equal losses, none is missing, and the final weights are bit-equal.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: processes are forked

import numpy as np

from experiments.common import write_results
from experiments.faults.harness import Reference, Setting, disturbed, draw_fault, reference
from lit_curriculum.loop.resume import StageProgress
from lit_curriculum.utils.jsonl_log import JsonlLog


def main() -> None:
    """Run the harness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", action="append", help="a file of configs/curriculum; may be given several times")
    parser.add_argument("--kills", type=int, default=100, help="disturbed runs of each method")
    parser.add_argument("--out", type=Path, default=Path("results/faults"))
    parser.add_argument("--work", type=Path, default=Path("runs/faults"), help="folder for the runs themselves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sabotage", action="store_true", help="save wrong positions on purpose: has to be noticed")
    parser.add_argument("--quick", action="store_true", help="three disturbed runs of each method")
    given = parser.parse_args()
    methods = given.method or ["iterit", "uniform"]
    kills = 3 if given.quick else given.kills
    if given.sabotage:
        StageProgress.batches_done = lambda self, trainer: 0  # type: ignore[method-assign]
    given.work.mkdir(parents=True, exist_ok=True)
    log: JsonlLog[tuple[str, int], dict[str, Any]] = JsonlLog(
        given.work / "done.jsonl", lambda r: ((r["method"], r["number"]), r), "finished run"
    )
    done = log.entries
    references: dict[Setting, Reference] = {}
    for method in methods:
        for number in range(kills):
            if (method, number) in done:
                continue
            rng = np.random.default_rng([given.seed, number, *method.encode()])
            setting = Setting(method, accumulate=int(rng.choice([1, 3])))
            if setting not in references:
                references[setting] = reference(
                    setting, given.work.resolve() / f"{method}-{setting.accumulate}-reference"
                )
            faults = [draw_fault(rng) for _ in range(int(rng.integers(1, 4)))]
            workers = int(rng.choice([0, 0, 2]))
            folder = given.work.resolve() / f"{method}-{number}"
            difference = disturbed(setting, folder, faults, references[setting], workers)
            row = {
                "method": method, "number": number, "accumulate": setting.accumulate, "workers": workers,
                "faults": [str(f) for f in faults], "kinds": [f.kind for f in faults], "difference": difference,
            }  # fmt: skip
            log.append([row])
            print(f"{method} {number}: {difference or 'identical'} after {'; '.join(row['faults'])}", flush=True)
    rows = []
    for method in methods:
        mine = [r for r in done.values() if r["method"] == method and r["number"] < kills]
        identical = sum(not r["difference"] for r in mine)
        rows.append({"name": f"{method}/identical runs", "value": identical, "unit": "runs", "n": len(mine)})
        struck = Counter(kind for r in mine for kind in r["kinds"])
        rows += [
            {"name": f"{method}/faults/{kind}", "value": n, "unit": "faults"} for kind, n in sorted(struck.items())
        ]
        print(f"{method}: {identical} of {len(mine)} identical")
    config = {"methods": methods, "kills": kills, "seed": given.seed}
    write_results(given.out, rows, config)
    (given.out / "runs.jsonl").write_text("\n".join(json.dumps(r) for r in done.values()) + "\n")


if __name__ == "__main__":
    main()
