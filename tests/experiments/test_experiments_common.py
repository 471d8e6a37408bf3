"""The helpers that experiments share."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

from experiments.common import provenance, read_responses, summary, time_interleaved, write_results


def test_results_carry_config_commit_versions_and_data_hash(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl.gz"
    data.write_bytes(gzip.compress(b'{"instruction": "Say it.", "input": "", "output": "it"}\n'))
    rows = [summary("speed", [3.0, 1.0, 2.0], "s")]
    path = write_results(tmp_path / "new" / "folder", rows, {"seed": 0}, [data])
    results = json.loads(path.read_text())
    source = json.loads((path.parent / "provenance.json").read_text())
    assert results == [{"name": "speed", "value": 2.0, "unit": "s", "low": 1.0, "high": 3.0, "n": 3}]
    assert source["config"] == {"seed": 0}
    assert source["data"] == {"data.jsonl.gz": hashlib.sha256(data.read_bytes()).hexdigest()}
    assert source["packages"]["numpy"]
    assert {*provenance(), "config"} == set(source)
    assert read_responses(data) == ["it"]


def test_contenders_take_turns() -> None:
    calls: list[str] = []
    timings = time_interleaved({name: lambda name=name: calls.append(name) for name in "abc"}, rounds=3, warmup=1)
    assert len(calls) == 12
    assert all(set(calls[k : k + 3]) == {"a", "b", "c"} for k in range(0, 12, 3))
    assert {calls[k] for k in range(3, 12, 3)} == {"a", "b", "c"}
    assert all(len(t.seconds) == len(t.yardstick) == 3 for t in timings.values())
    per_call, in_products = timings["a"].rows("a", per=10)
    assert per_call["value"] <= max(timings["a"].seconds) / 10
    assert (per_call["unit"], in_products["unit"]) == ("s", "products")
