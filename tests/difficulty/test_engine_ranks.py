"""Scoring on several processes: uneven shards, fewer sequences than ranks, an empty shard."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from lit_curriculum.difficulty.batching import UniqueSequences
from lit_curriculum.difficulty.engine import ScoringEngine
from lit_curriculum.difficulty.loss_metrics import InstructionFollowingDifficulty
from lit_curriculum.difficulty.runner import BatchRunner
from lit_curriculum.types import Batch, TokenNLL
from tests.conftest import ListStore, make_example
from tests.difficulty.bigram import BigramModel
from tests.processes import free_port, join

SIZES = (0, 1, 2, 5, 23)


def store() -> ListStore:
    return ListStore([make_example(i, "word " * (1 + i % 9), f"question {i}") for i in range(30)])


def scores() -> list[list[float]]:
    engine = ScoringEngine({"ifd": InstructionFollowingDifficulty()}, token_budget=64)
    return [engine.score(BigramModel(), store(), np.arange(size)).values["ifd"].tolist() for size in SIZES]


def worker(rank: int, world_size: int, port: int, folder: str) -> None:
    join(rank, world_size, port)
    Path(folder, f"{rank}.json").write_text(json.dumps(scores()))
    dist.destroy_process_group()


class SmallOnRankOne(BigramModel):
    """Memory for 100 tokens at a time on rank 1 alone; the weights may be split over the ranks."""

    def __init__(self, sharded: bool) -> None:
        super().__init__()
        if sharded:
            mesh = init_device_mesh("cpu", (dist.get_world_size(),))
            self.part = nn.Parameter(distribute_tensor(torch.zeros(4), mesh, [Shard(0)]))

    def token_nll(self, batch: Batch) -> TokenNLL:
        if dist.get_rank() == 1 and batch.input_ids.numel() > 100:
            raise torch.OutOfMemoryError("too much")
        return super().token_nll(batch)


def out_of_memory(rank: int, world_size: int, port: int, folder: str, sharded: bool) -> None:
    join(rank, world_size, port)
    engine = ScoringEngine({"ifd": InstructionFollowingDifficulty()}, token_budget=300)
    model = SmallOnRankOne(sharded)
    found: dict[str, Any] = {}
    try:
        found["scores"] = [engine.score(model, store(), np.arange(30)).values["ifd"].tolist() for _ in range(2)]
        found["token_budget"] = engine.token_budget
    except (ValueError, RuntimeError) as error:
        found["error"] = f"{type(error).__name__}: {error}"
    if sharded and rank == 1:
        work = UniqueSequences.build(store(), np.arange(30), ["conditioned"])
        runner = BatchRunner(model, store(), work, {}, torch.device("cpu"), "none", 300)
        with pytest.raises(ValueError, match="share the weights cannot back off apart"):
            runner.seconds(np.arange(len(work)))
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    os._exit(0)  # at once: a rank that has failed does not wait for the others


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 4])
def test_every_rank_has_all_scores_bit_for_bit(tmp_path: Path, world_size: int) -> None:
    mp.spawn(worker, (world_size, free_port(), str(tmp_path)), nprocs=world_size)  # type: ignore[no-untyped-call]
    alone = scores()
    for rank in range(world_size):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == alone


def run_out_of_memory(folder: Path, sharded: bool) -> list[dict[str, Any]]:
    mp.spawn(out_of_memory, (2, free_port(), str(folder), sharded), nprocs=2)  # type: ignore[no-untyped-call]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
def test_a_rank_that_runs_out_of_memory_backs_off_alone_and_all_start_lower_the_next_time(tmp_path: Path) -> None:
    one, two = run_out_of_memory(tmp_path, sharded=False)
    assert one == two
    assert one["token_budget"] <= 150
    expected = ScoringEngine({"ifd": InstructionFollowingDifficulty()}, token_budget=64)
    values = expected.score(BigramModel(), store(), np.arange(30)).values["ifd"]
    for found in one["scores"]:
        np.testing.assert_allclose(found, values, rtol=1e-5)


@pytest.mark.slow
def test_ranks_that_share_the_weights_refuse_to_back_off_apart(tmp_path: Path) -> None:
    one, two = run_out_of_memory(tmp_path, sharded=True)
    assert two["error"].startswith("ValueError: memory ran out on rank 1 in a scoring batch of ")
    assert "set curriculum.token_budget below" in two["error"]
    assert "scores" not in one, "the other rank does not end with separate scores"
