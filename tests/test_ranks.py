"""The same run on 1, 2 and 4 processes: same selections, same global batches, same losses; and across a resume."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def start(out: Path, ranks: int, *options: str) -> list[dict[str, Any]]:
    """Run ``tests/rank_run.py`` and return what each rank wrote."""
    out.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.rank_run", f"--ranks={ranks}", f"--out={out}", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": str(port), "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((out / f"rank-{r}.json").read_text()) for r in range(ranks)]


def global_batches(found: list[dict[str, Any]]) -> list[list[int]]:
    """The examples of every global batch, sorted."""
    return [sorted(i for part in parts for i in part) for parts in zip(*(f["batches"] for f in found), strict=True)]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return start(tmp_path_factory.mktemp("ranks") / "one", 1)


@pytest.mark.parametrize(("ranks", "strategy"), [(2, "ddp"), (4, "ddp"), (2, "fsdp2")])
def test_selections_batches_and_losses_do_not_depend_on_ranks(
    tmp_path: Path, single: list[dict[str, Any]], ranks: int, strategy: str
) -> None:
    found = start(tmp_path / "many", ranks, f"--strategy={strategy}")
    for rank in found:
        assert rank["plans"] == single[0]["plans"]
    assert len(single[0]["plans"]) == 5
    assert global_batches(found) == global_batches(single)
    np.testing.assert_allclose(found[0]["losses"], single[0]["losses"], rtol=1e-5, atol=1e-5)


def test_a_run_continues_on_another_number_of_ranks(tmp_path: Path, single: list[dict[str, Any]]) -> None:
    first = start(tmp_path / "first", 2, "--stop_after=8")  # in the middle of stage 2
    rest = start(tmp_path / "rest", 1, f"--resume={tmp_path / 'first' / 'last.ckpt'}")
    assert global_batches(first) + global_batches(rest) == global_batches(single)
    losses = first[0]["losses"] + rest[0]["losses"]
    np.testing.assert_allclose(losses, single[0]["losses"], rtol=1e-5, atol=1e-5)


def test_a_sharded_run_continues(tmp_path: Path, single: list[dict[str, Any]]) -> None:
    first = start(tmp_path / "first", 2, "--strategy=fsdp2", "--stop_after=8")
    rest = start(tmp_path / "rest", 2, "--strategy=fsdp2", f"--resume={tmp_path / 'first' / 'last.ckpt'}")
    assert global_batches(first) + global_batches(rest) == global_batches(single)


@pytest.mark.parametrize("objective", ["reweighting", "pairwise"])
def test_a_learned_scorer_does_not_depend_on_ranks(tmp_path: Path, objective: str) -> None:
    options = (f"--scorer={objective}", "--stages=3")
    single = start(tmp_path / "one", 1, *options)
    found = start(tmp_path / "two", 2, *options)
    assert found[0]["plans"] == found[1]["plans"] == single[0]["plans"]
    assert len({tuple(plan) for plan in single[0]["plans"]}) == 3
    np.testing.assert_allclose(found[0]["losses"], single[0]["losses"], rtol=1e-5, atol=1e-5)


def test_campus_does_not_depend_on_ranks_and_ends_by_itself_on_all(tmp_path: Path) -> None:
    options = ("--campus", "--stages=12")
    single = start(tmp_path / "one", 1, *options)
    found = start(tmp_path / "two", 2, *options)
    assert found[0]["plans"] == found[1]["plans"] == single[0]["plans"]
    assert 3 <= len(single[0]["plans"]) < 12
    assert sum(len(plan) for plan in single[0]["plans"]) == 120
    assert global_batches(found) == global_batches(single)
    np.testing.assert_allclose(found[0]["losses"], single[0]["losses"], rtol=1e-5, atol=1e-5)
