"""Does torch.compile pay in scoring on a CPU? IFD of the same rows by the decoder as it is and compiled.

python -m experiments.benchmarks.compiled --out DIR --data FILE [--keep FIELD] [--rows N] [--rounds N]
python -m experiments.benchmarks.compiled --out DIR --quick

The decoder is compiled as one graph for any number of tokens; attention within rows is one operation of that graph.
"frozen" compiles the weights in as constants, which packs them for oneDNN: a second copy, good for these weights only.
Each way of compiling runs in a separate process with an empty compiler cache, in which compiled decoder and plain one
take turns. Ratios are of CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.benchmarks.scoring_contenders import Setting, ours
from experiments.benchmarks.scoring_data import QUICK, add_row_options, choose_rows, encode, load
from experiments.common import Row, print_rows, summary, write_results
from lit_curriculum.models.execution import rows as by_rows

EXACT, EAGER, COMPILED, FROZEN = "float64", "as it is", "compiled", "compiled, frozen"
_NAME = "compiled_rows"
_attention = nn.Module().eval()
"""Placeholder for a layer's attention module where only its options are read."""


@torch.library.custom_op("lit_curriculum::attend_by_rows", mutates_args=())
def attend_by_rows(query: Tensor, key: Tensor, value: Tensor, runs: Tensor, prefix: Tensor, scale: float) -> Tensor:
    """Attention by rows as one operation, so that the lengths of the rows are no constants of the graph."""
    pairs = [(count, length) for count, length in runs.tolist()]
    return by_rows._attend(_attention, query, key, value, None, pairs, int(prefix), scaling=scale)[0].contiguous()


@attend_by_rows.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, runs: Tensor, prefix: Tensor, scale: float) -> Tensor:
    del key, value, runs, prefix, scale
    return query.new_empty(1, query.shape[2], query.shape[1], query.shape[3])


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, row_runs: Tensor,
    prefix_length: Tensor, scaling: float, **others: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    assert others.get("sliding_window") is None, "windows are not passed on"
    del module, attention_mask
    return attend_by_rows(query, key, value, row_runs, prefix_length, scaling), None


def compile_decoder(model: Any, freeze: bool) -> None:
    """Put a compiled forward in the place of the decoder's own; it is compiled when it is first called."""
    import torch._inductor.config as inductor
    from transformers import AttentionInterface
    from transformers.modeling_outputs import BaseModelOutputWithPast

    inductor.freezing = freeze
    AttentionInterface.register(_NAME, _attend)
    decoder = model.get_decoder()
    _attention.num_key_value_groups = decoder.layers[0].self_attn.num_key_value_groups
    _attention.is_causal = True
    plain = decoder.forward

    @torch.compile(dynamic=True)
    def run(ids: Tensor, positions: Tensor, runs: Tensor, prefix: Tensor) -> Tensor:
        output = plain(input_ids=ids, position_ids=positions, use_cache=False, row_runs=runs, prefix_length=prefix)
        hidden: Tensor = output.last_hidden_state
        return hidden

    def forward(
        input_ids: Tensor, position_ids: Tensor, row_runs: by_rows.Runs, prefix_length: int, use_cache: bool
    ) -> BaseModelOutputWithPast:
        assert not use_cache
        decoder.config._attn_implementation = _NAME
        hidden = run(input_ids, position_ids, torch.tensor(row_runs), torch.tensor(prefix_length))
        return BaseModelOutputWithPast(last_hidden_state=hidden)

    decoder.forward = forward


def measure(name: str, dtype: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of every call and the scores, plain and compiled by turns or with float64 alone; in a fresh process."""
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        store = encode(choose_rows(options.data, options.keep, options.rows), options.model, Path(folder))
        if name == EXACT:
            # From the same numbers: random weights of another type are others.
            setting = Setting(store, load(options.model, dtype, device).double(), device, 2048)
            return {"scores": ours(setting).tolist(), "tokens": setting.num_tokens}
        settings = {n: Setting(store, load(options.model, dtype, device), device, 2048) for n in (EAGER, name)}
        compile_decoder(settings[name].model, name == FROZEN)
        found: dict[str, Any] = {n: {"walls": [], "processors": []} for n in settings}
        for _ in range(options.rounds + 1):
            for n, setting in settings.items():
                before, started = _processor(), time.perf_counter()
                scores = ours(setting)
                found[n]["walls"].append(time.perf_counter() - started)
                found[n]["processors"].append(_processor() - before)
                found[n]["scores"] = scores.tolist()
    return found


def _processor() -> float:
    """CPU seconds of this process and of those that it has started and that have ended (the C++ compiler)."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def report(exact: dict[str, Any], found: dict[str, dict[str, dict[str, Any]]]) -> list[Row]:
    """All rows: rates, ratios within rounds, what compiling took, after how many examples that is won back, errors.

    Args:
        exact: Scores in float64, and the number of tokens.
        found: Type of the weights -> way of running -> what :func:`measure` says of it.
    """
    rows: list[Row] = []
    for dtype, ways in found.items():
        for name, one in ways.items():
            title, seconds = f"{name}, {dtype}", one["processors"][1:]
            rows.append(summary(f"{title}: tokens", [exact["tokens"] / s for s in seconds], "tokens/processor s"))
            error = np.abs(np.array(one["scores"]) / np.array(exact["scores"]) - 1).max()
            rows.append({"name": f"{title}: largest relative error", "value": float(error), "unit": ""})
            if "plain" not in one:
                continue
            plain = one["plain"]["processors"][1:]
            rows.append(summary(f"{title} over {EAGER}", [p / s for p, s in zip(plain, seconds, strict=True)], "times"))
            cost = one["processors"][0] - statistics.median(seconds)
            rows.append({"name": f"{title}: compiling", "value": cost, "unit": "processor s"})
            clock = one["walls"][0] - statistics.median(one["walls"][1:])
            rows.append({"name": f"{title}: compiling, by the clock", "value": clock, "unit": "s"})
            won = (statistics.median(plain) - statistics.median(seconds)) / len(one["scores"])
            if won > 0:
                rows.append({"name": f"{title}: won back after", "value": cost / won, "unit": "examples"})
    return rows


def _in_process(name: str, dtype: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "experiments.benchmarks.compiled", *sys.argv[1:], "--one", name, dtype]
    with tempfile.TemporaryDirectory() as cache:
        # One thread: others that compile would not be waited for, and so not be counted.
        alone = {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **alone})
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json")
    add_row_options(parser, 16)
    parser.add_argument("--quick", action="store_true", help="a tiny random model, 8 rows, 1 round, float32 only")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    dtypes = ["float32", "bfloat16"]
    if options.quick:
        options.model, options.rows, options.rounds, dtypes = QUICK, 8, 1, ["float32"]
    torch.set_num_threads(1)
    if options.one is not None:
        with torch.no_grad():
            print(json.dumps(measure(*options.one, options)))
        return
    exact = _in_process(EXACT, "float32")
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for dtype in dtypes:
        for name in (COMPILED, FROZEN):
            one = _in_process(name, dtype)
            print(name, dtype, {n: [round(s, 2) for s in m["processors"]] for n, m in one.items()}, flush=True)
            found.setdefault(dtype, {EAGER: one[EAGER]})[name] = one[name] | {"plain": one[EAGER]}
    rows = report(exact, found)
    config = {"model": options.model, "rows": options.rows, "keep": options.keep, "row_seed": 0, "threads": 1,
              "rounds": options.rounds, "tokens": exact["tokens"]}  # fmt: skip
    path = write_results(options.out, rows, config, [options.data] if options.data is not None else [])
    print_rows(rows)
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
