"""A dozen runs killed at random moments continue to the same batches, losses and weights as the undisturbed run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def run(tmp_path: Path, *options: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    command = [
        sys.executable,
        "-m",
        "experiments.faults.run",
        f"--out={tmp_path / 'out'}",
        f"--work={tmp_path / 'work'}",
    ]
    done = subprocess.run(
        [*command, *options], cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    runs = [json.loads(line) for line in (tmp_path / "out" / "runs.jsonl").read_text().splitlines()]
    return rows, runs


def test_killed_runs_end_as_the_undisturbed_one(tmp_path: Path) -> None:
    rows, runs = run(tmp_path, "--method=iterit", "--method=uniform", "--kills=6", "--seed=1")
    assert [r["difference"] for r in runs] == [""] * 12
    assert [r["value"] for r in rows if r["name"].endswith("identical runs")] == [6, 6]
    assert len({kind for r in runs for kind in r["kinds"]}) >= 5


def test_a_wrong_position_is_noticed(tmp_path: Path) -> None:
    _, runs = run(tmp_path, "--method=iterit", "--kills=4", "--sabotage")
    assert any(r["difference"] for r in runs)
