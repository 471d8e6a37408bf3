"""The scoring benchmark: its contenders agree, it resumes where it was stopped, its ratios are right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.benchmarks import scoring
from experiments.benchmarks.scoring_contenders import (
    COMPILED,
    DIRECT,
    LIMIT,
    OURS,
    VIEWS,
    WHOLE,
    Setting,
    contenders,
    run_wana,
    tokens_run,
)
from experiments.benchmarks.scoring_data import QUICK, choose_rows, encode, load
from experiments.benchmarks.scoring_report import report
from lit_curriculum.models.execution import attention


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    store = encode(choose_rows(None, None, 13), QUICK, tmp_path)
    return Setting(store, load(QUICK, "float32", torch.device("cpu")), torch.device("cpu"), 512)


@torch.no_grad()
def test_all_ways_of_scoring_give_the_same(setting: Setting) -> None:
    runs = contenders(setting)
    expected = runs[DIRECT]()
    assert expected is not None
    assert np.ptp(expected) > 1e-4
    for name in (WHOLE, OURS):
        np.testing.assert_allclose(runs[name](), expected, rtol=1e-5)
    assert 0.0 < setting.scored_share < 1.0
    assert setting.num_tokens <= 4 * tokens_run(LIMIT, setting) < setting.num_tokens + 4 * 512
    assert runs[LIMIT]() is None
    views = [[setting.store.lengths(view)[low : low + 8].tolist() for low in (0, 8)] for view in VIEWS]
    run = sum(len(rows) * max(rows) for view in views for rows in view)
    assert setting.loop_padding == pytest.approx(1 - setting.num_tokens / run)


@torch.no_grad()
def test_the_compiled_decoder_takes_turns_with_the_plain_one(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def hidden(decoder: torch.nn.Module, **inputs: Any) -> torch.Tensor:
        calls.append(len(inputs["input_ids"]))
        return attention._hidden(decoder, **inputs)

    monkeypatch.setattr(attention, "_compiled", lambda: hidden)
    setting.compiled = True
    runs = contenders(setting)
    found = runs[COMPILED]()
    assert sum(calls) == 2 * 13, "both views of every row"
    np.testing.assert_allclose(found, runs[OURS](), rtol=1e-5)
    assert sum(calls) == 2 * 13


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "measure_memory", lambda *_: None)
    command = ["scoring", "--quick", "--dtype", "float32", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    scoring.main()
    lines = (tmp_path / "rounds.jsonl").read_text().splitlines()
    (tmp_path / "rounds.jsonl").write_text("\n".join(lines[:4]) + "\n")
    scoring.main()
    again = (tmp_path / "rounds.jsonl").read_text().splitlines()
    assert again[:4] == lines[:4]
    # As sets: what a busy machine disturbs is measured again.
    keys, later = (
        {tuple(json.loads(line)[k] for k in ("name", "round")) for line in run[1:]} for run in (lines, again)
    )
    assert keys == later
    assert len(keys) == 10
    names = [row["name"] for row in json.loads((tmp_path / "results.json").read_text())]
    assert f"{OURS}, float32 over {WHOLE}, float32: in products" in names
    monkeypatch.setattr(sys, "argv", [*command, "--rounds", "3", "--token-budget", "99"])
    with pytest.raises(SystemExit, match=r"rounds.jsonl is of other options .*token_budget.*"):
        scoring.main()


def test_ratios_are_taken_within_rounds() -> None:
    def timed(name: str, number: int, seconds: float, product: float) -> dict[str, object]:
        return {"kind": "time", "name": name, "dtype": "float32", "round": number, "seconds": seconds,
                "processor": seconds / 2, "product": product, "tokens": 10, "rows": 5, "scores": None}  # fmt: skip

    found = [timed(OURS, n, 1.0 + n, 0.1) for n in range(3)] + [timed(WHOLE, n, 3.0 + 3 * n, 0.3) for n in range(3)]
    rows = {row["name"]: row["value"] for row in report(found, ["float32"])}
    title = f"{OURS}, float32 over {WHOLE}, float32"
    assert rows[f"{title}: speed"] == pytest.approx(3.0)
    assert rows[f"{title}: in processor time"] == pytest.approx(3.0)
    assert rows[f"{title}: in products"] == pytest.approx(1.0)
    assert rows[f"{OURS}, float32: examples"] == pytest.approx(2.5)


def test_what_a_busy_machine_disturbed_is_measured_again_and_does_not_count(tmp_path: Path) -> None:
    log = scoring.Log(tmp_path / "rounds.jsonl", {"device": "cpu", "threads": 2})
    assert not log.has("time", OURS, "float32")
    for processor in (5.0, 6.0):
        log.add("time", OURS, "float32", seconds=4.0, processor=processor)
        assert not log.has("time", OURS, "float32"), "the two threads ran for 5/8 and 3/4 of the time"
    log.add("time", OURS, "float32", seconds=2.0, processor=1.0)
    assert log.has("time", OURS, "float32"), "three times are enough"
    assert [m["processor"] for m in log.counting] == [6.0], "the least disturbed one"
    log.add("time", WHOLE, "float32", seconds=4.0, processor=7.6)
    log.add("memory", WHOLE, "float32", bytes=3)
    assert log.has("time", WHOLE, "float32")
    assert log.has("memory", WHOLE, "float32")
    assert len(log.counting) == 3
    on_gpu = scoring.Log(tmp_path / "gpu.jsonl", {"device": "cuda", "threads": 2})
    on_gpu.add("time", OURS, "float32", seconds=4.0, processor=0.1)
    assert on_gpu.has("time", OURS, "float32")


def test_rows_are_drawn_from_those_with_the_field(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"instruction": str(i), "output": "x" if i else " ", "use": i % 2 == 0} for i in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = choose_rows(path, "use", 5)
    assert len(chosen) == 5
    assert all(int(row["instruction"]) % 2 == 0 and int(row["instruction"]) > 0 for row in chosen)
    assert chosen == choose_rows(path, "use", 5)
    with pytest.raises(SystemExit, match=r"--keep other: no row of .* has this field set to true"):
        choose_rows(path, "other", 5)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_is_what_the_call_needs() -> None:
    """In a separate process: memory that earlier tests leave to be collected would be subtracted from the peak."""
    code = (
        "import numpy as np; from experiments.benchmarks.scoring_memory import peak_of_process; "
        "print(peak_of_process(lambda: np.ones(16_000_000)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(found.stdout) == pytest.approx(128e6, rel=0.2)


def test_the_package_gets_the_conversations(tmp_path: Path, setting: Setting) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nread line < "$3"\necho noise\necho "{\\"seconds\\": $4, \\"scores\\": $line}"\n')
    python.chmod(0o755)
    answer = run_wana(str(python), setting.store, tmp_path, 2)
    assert answer["seconds"] == 2
    assert len(answer["scores"]) == 8
    assert answer["scores"][0][1] == ["assistant", setting.store[0].messages[1].content]
