"""Scoring on several processes: uneven shards, fewer sequences than ranks, an empty shard."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from lit_curriculum.difficulty.engine import ScoringEngine
from lit_curriculum.difficulty.ifd import InstructionFollowingDifficulty
from tests.conftest import ListStore, make_example
from tests.difficulty.test_engine import BigramModel

SIZES = (0, 1, 2, 5, 23)


def store() -> ListStore:
    return ListStore([make_example(i, "word " * (1 + i % 9), f"question {i}") for i in range(30)])


def scores() -> list[list[float]]:
    engine = ScoringEngine({"ifd": InstructionFollowingDifficulty()}, token_budget=64)
    return [engine.score(BigramModel(), store(), np.arange(size)).values["ifd"].tolist() for size in SIZES]


def worker(rank: int, world_size: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world_size)
    Path(folder, f"{rank}.json").write_text(json.dumps(scores()))
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 4])
def test_every_rank_has_all_scores_bit_for_bit(tmp_path: Path, world_size: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(worker, (world_size, port, str(tmp_path)), nprocs=world_size)  # type: ignore[no-untyped-call]
    alone = scores()
    for rank in range(world_size):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == alone
