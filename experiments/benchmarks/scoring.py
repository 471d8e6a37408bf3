"""Speed and memory of scoring IFD: ours, the field's loops, a package, and the machine's limit, by turns in one run.

python -m experiments.benchmarks.scoring --out DIR --data FILE [--rows N] [--rounds N] [--device cuda]
python -m experiments.benchmarks.scoring --out DIR --quick

Without --rows 96 examples are taken, and 2000 on a GPU.

Every measurement is written to DIR/rounds.jsonl as it is made: rerun the same command to resume. On a CPU, one that
did not get its threads for nine tenths of its time is made again, at most three times in all; the least disturbed one
counts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from experiments.benchmarks.scoring_contenders import (
    COMPILED,
    OURS,
    WANA,
    WHOLE,
    Setting,
    contenders,
    run_wana,
    tokens_run,
    wana_rows,
)
from experiments.benchmarks.scoring_data import QUICK, add_row_options, choose_rows, encode, load
from experiments.benchmarks.scoring_memory import cuda_peak, peak_of_process
from experiments.benchmarks.scoring_report import report
from experiments.common import Row, open_log, print_rows, write_results
from lit_curriculum.types import CONDITIONED
from lit_curriculum.utils.jsonl_log import JsonlLog

Measurement = dict[str, Any]
ATTEMPTS = 3
UNDISTURBED = 0.9
"""Share of a measurement's time that its threads have to have run; those that wait for each other count as running."""


class Log:
    """The measurements of a run, in a file that begins with its configuration.

    Args:
        path: The file.
        config: What must be equal for measurements to be compared.
        attempts: How often a measurement is made at most where other work disturbs it.
    """

    def __init__(self, path: Path, config: dict[str, Any], attempts: int = ATTEMPTS) -> None:
        self.attempts = attempts
        self.threads = int(config["threads"]) if config["device"] == "cpu" else 0
        self._log: JsonlLog[str, Measurement] = open_log(path, lambda m: (json.dumps(m), m), "measurement", config)

    @property
    def found(self) -> list[Measurement]:
        """All measurements, in order."""
        return list(self._log.entries.values())

    def of(self, kind: str, name: str, dtype: str, number: int = 0) -> list[Measurement]:
        """All measurements of this."""
        key = (kind, name, dtype, number)
        return [m for m in self.found if (m["kind"], m["name"], m["dtype"], m["round"]) == key]

    def has(self, kind: str, name: str, dtype: str, number: int = 0) -> bool:
        """Whether this has been measured, and not just once or twice on a machine that was busy with other work."""
        made = self.of(kind, name, dtype, number)
        return len(made) >= self.attempts or any(share_run(m, self.threads) >= UNDISTURBED for m in made)

    @property
    def counting(self) -> list[Measurement]:
        """Of every repeated measurement the least disturbed one."""
        kept: dict[tuple[Any, ...], Measurement] = {}
        for m in self.found:
            key = (m["kind"], m["name"], m["dtype"], m["round"])
            if key not in kept or share_run(m, self.threads) > share_run(kept[key], self.threads):
                kept[key] = m
        return list(kept.values())

    def add(self, kind: str, name: str, dtype: str, number: int = 0, **values: Any) -> None:
        """Keep one measurement."""
        measurement = {"kind": kind, "name": name, "dtype": dtype, "round": number, **values}
        self._log.append([measurement])
        print(f"{kind} {number} {name} {dtype}: " + ", ".join(
            f"{k} {v:.5g}" for k, v in values.items() if isinstance(v, int | float)), flush=True)  # fmt: skip


def share_run(measurement: Measurement, threads: int) -> float:
    """Share of its time that a measurement's threads ran, 1 where that says nothing (memory, or no ``threads``)."""
    if "processor" not in measurement or not threads:
        return 1.0
    return float(measurement["processor"] / measurement["seconds"] / threads)


def yardstick(device: torch.device) -> float:
    """Seconds of one product of square float32 matrices, 1024 wide, or 8192 on a GPU."""
    size = 8192 if device.type == "cuda" else 1024
    left, right = torch.ones(2, size, size, device=device)
    _wait(device)
    started = time.perf_counter()
    left @ right
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.no_grad()
def measure(log: Log, settings: dict[str, Setting], rounds: int, wana: str | None, folder: Path) -> None:
    """All rounds: each contender once in the first type of weights, ours and the limit in the others."""
    first = next(iter(settings))
    names = [(name, dtype) for dtype, s in settings.items() for name in contenders(s)
             if dtype == first or name in (OURS, COMPILED) or name.startswith("limit")]  # fmt: skip
    if wana is not None:
        names.append((WANA, "q4_1"))
    for setting in settings.values():
        for name in (OURS, COMPILED) if setting.compiled else (OURS,):
            contenders(setting)[name]()
        setting.synchronise()
    for number in range(rounds):
        turn = number % len(names)
        for name, dtype in names[turn:] + names[:turn]:
            while not log.has("time", name, dtype, number):
                measure_once(log, settings.get(dtype, settings[first]), name, dtype, number, wana, folder)


def measure_once(
    log: Log, setting: Setting, name: str, dtype: str, number: int, wana: str | None, folder: Path
) -> None:
    """Time one contender, right after a product of matrices."""
    product = yardstick(setting.device)
    if name == WANA:
        assert wana is not None
        answer = run_wana(wana, setting.store, folder, torch.get_num_threads())
        seconds, processor, scores = answer["seconds"], answer["processor"], answer["scores"]
    else:
        run = contenders(setting)[name]
        started, before = time.perf_counter(), time.process_time()
        found = run()
        setting.synchronise()
        seconds, processor = time.perf_counter() - started, time.process_time() - before
        scores = None if found is None else found.tolist()
    log.add("time", name, dtype, number, seconds=seconds, processor=processor, product=product,
            rows=wana_rows(setting.store) if name == WANA else len(setting.store),
            tokens=tokens_run(name, setting), scores=scores if number == 0 else None)  # fmt: skip


def measure_memory(log: Log, settings: dict[str, Setting], arguments: list[str]) -> None:
    """Peak memory beyond the weights, on the CPU in a fresh process each."""
    for dtype, setting in settings.items():
        for name, run in contenders(setting).items():
            only_first = dtype != next(iter(settings)) and name not in (OURS, COMPILED)
            # On the CPU the compiler would count, which runs in the first call of a process.
            compiling = name == COMPILED and setting.device.type == "cpu"
            if name.startswith("limit") or only_first or compiling or log.has("memory", name, dtype):
                continue
            if setting.device.type == "cuda":
                with torch.no_grad():
                    log.add("memory", name, dtype, bytes=cuda_peak(run, setting.device))
                continue
            command = [sys.executable, "-m", "experiments.benchmarks.scoring", *arguments, "--memory-of", name, dtype]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            log.add("memory", name, dtype, bytes=int(done.stdout.split()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for rounds.jsonl and results.json")
    add_row_options(parser, None)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"],
                        help="types of the weights; the loops run in the first")  # fmt: skip
    parser.add_argument("--token-budget", type=int, help="padded tokens in a batch of ours; 2048, or 65536 on a GPU")
    parser.add_argument(
        "--compiled", action="store_true", help="time ours with model.torch_compile too; on a GPU always"
    )
    parser.add_argument("--wana", help="Python interpreter of an environment with wana==0.5.1, to time it too")
    parser.add_argument("--quick", action="store_true", help="a tiny random model, 24 rows, 2 rounds")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.rows = options.rows or (2000 if options.device == "cuda" else 96)
    if options.quick:
        options.model, options.rows, options.rounds = QUICK, 24, 2
    device = torch.device(options.device)
    compiled = options.compiled or device.type == "cuda"
    budget = options.token_budget or (65_536 if device.type == "cuda" else 2048)
    records = choose_rows(options.data, options.keep, options.rows)
    with tempfile.TemporaryDirectory() as folder:
        store = encode(records, options.model, Path(folder))
        if options.memory_of is not None:
            name, dtype = options.memory_of
            setting = Setting(store, load(options.model, dtype, device), device, budget, compiled)
            with torch.no_grad():
                print(peak_of_process(contenders(setting)[name]))
            return
        settings = {d: Setting(store, load(options.model, d, device), device, budget, compiled) for d in options.dtype}
        setting = settings[options.dtype[0]]
        config: dict[str, Any] = {
            "model": options.model, "device": device.type, "threads": torch.get_num_threads(), "rows": len(store),
            "keep": options.keep, "row_seed": 0, "rounds": options.rounds, "dtypes": options.dtype,
            "token_budget": budget, "tokens": setting.num_tokens, "scored_share": setting.scored_share,
            "loop_padding": setting.loop_padding, "longest": int(setting.store.lengths(CONDITIONED).max()),
            "data": None if options.data is None else options.data.name, "wana": options.wana is not None,
            "compiled": compiled,
        }  # fmt: skip
        if device.type == "cuda":
            config["gpu"] = torch.cuda.get_device_name(device)
        log = Log(options.out / "rounds.jsonl", config)
        measure_memory(log, settings, sys.argv[1:])
        measure(log, settings, options.rounds, options.wana, Path(folder))
    padding: Row = {"name": f"{WHOLE}: padding", "value": config["loop_padding"], "unit": "of its positions"}
    timed = [m for m in log.counting if m["kind"] == "time"]
    again: Row = {"name": "measurements made again, the machine being busy", "unit": f"beside {len(timed)}",
                  "value": sum(m["kind"] == "time" for m in log.found) - len(timed)}  # fmt: skip
    disturbed: Row = {"name": "measurements that count though the machine was busy", "unit": f"of {len(timed)}",
                      "value": sum(share_run(m, log.threads) < UNDISTURBED for m in timed)}  # fmt: skip
    rows = [*report(log.counting, options.dtype), padding, again, disturbed]
    path = write_results(options.out, rows, config, [options.data] if options.data is not None else [])
    print_rows(rows)
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
