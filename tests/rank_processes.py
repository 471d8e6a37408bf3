"""Starts the ranks of a run as processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.forked import run_ranks


def start(
    out: Path, ranks: int, *options: str, module: str = "tests.rank_run", by_command: bool = False
) -> list[dict[str, Any]]:
    """Run ``tests/rank_run.py``, or another module like it, and return what each rank wrote.

    Args:
        out: Where to.
        ranks: Number of processes.
        options: Of the module's command line.
        module: Its name.
        by_command: Start it as a user does, and let Lightning start the other ranks.
    """
    out.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if not by_command:
        run_ranks(module, ranks, [f"--ranks={ranks}", f"--out={out}", *options], port, out)
        return [json.loads((out / f"rank-{r}.json").read_text()) for r in range(ranks)]
    command = [sys.executable, "-m", module, f"--ranks={ranks}", f"--out={out}", *options]
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
