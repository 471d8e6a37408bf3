"""Programs on several ranks, each rank forked off a process that has imported what takes five seconds to import."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path

PRELOADED = ["tests.rank_run", "tests.growth_rank_run"]
SECONDS = 300.0


def run_ranks(module: str, ranks: int, arguments: Sequence[str], port: int, folder: Path) -> None:
    """Run ``main`` of ``module`` on ``ranks`` processes, as Lightning's own launcher would start them.

    Args:
        module: With a function ``main`` that reads the command line.
        ranks: How many.
        arguments: Of the command line.
        port: Where they meet.
        folder: For what they print on stderr.

    Raises:
        AssertionError: one of them fails or takes too long; with what it printed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    meeting = {"MASTER_PORT": str(port), "MASTER_ADDR": "127.0.0.1", "NODE_RANK": "0"}
    said = [folder / f"stderr-{rank}.txt" for rank in range(ranks)]
    processes = [
        context.Process(
            target=_run_rank, args=(module, list(arguments), {**meeting, "LOCAL_RANK": str(rank)}, str(said[rank]))
        )
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SECONDS)
    for process in processes:
        process.kill()  # where it still runs
    ended = [process.exitcode for process in processes]
    assert ended == [0] * ranks, "\n".join([str(ended), *(path.read_text()[-3000:] for path in said if path.exists())])


def _run_rank(module: str, arguments: list[str], environment: dict[str, str], said: str) -> None:
    with Path(said).open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    importlib.import_module(module).main()
    import torch.distributed as dist

    # What Lightning does when an interpreter ends, and a forked process has none that ends.
    if dist.is_initialized():
        dist.destroy_process_group()
