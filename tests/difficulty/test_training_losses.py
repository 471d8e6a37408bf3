"""Training losses become scores: the last of each example, whatever the batches, and not twice."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from lit_curriculum.difficulty import training_losses as free
from lit_curriculum.difficulty.loss_metrics import NegativeLogLikelihood, Perplexity
from lit_curriculum.difficulty.table import NEVER, DifficultyTable
from lit_curriculum.difficulty.training_losses import TrainingLossCollector, check_training_loss_metric


def step(index: list[int], nll_sum: list[float], num_scored: list[int]) -> dict[str, Any]:
    return {"loss": torch.tensor(1.0), "index": torch.tensor(index), "nll_sum": torch.tensor(nll_sum),
            "num_scored": torch.tensor(num_scored)}  # fmt: skip


def test_the_last_loss_of_each_example_is_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    for flush in (256, 1, 2):
        monkeypatch.setattr(free, "_FLUSH", flush)
        scores, table = TrainingLossCollector(), DifficultyTable(6, ["nll"])
        scores.add(step([3, 1], [6.0, 1.0], [2, 1]))
        scores.add(step([5, 0], [0.0, 4.0], [0, 4]))
        scores.add(step([3], [2.0], [2]))
        assert scores.enter(table, "nll", 4) == 3
        np.testing.assert_array_equal(table.scores["nll"], [1.0, 1.0, np.nan, 1.0, np.nan, np.nan])
        assert table.scored_at["nll"].tolist() == [4, 4, NEVER, 4, NEVER, NEVER]
        assert scores.enter(table, "nll", 5) == 0


def _reference(steps: list[dict[str, Any]], size: int) -> list[float]:
    found = [float("nan")] * size
    for outputs in steps:
        for i, total, count in zip(*(outputs[k].tolist() for k in ("index", "nll_sum", "num_scored")), strict=True):
            if count:
                found[i] = total / count
    return found


def test_many_random_steps_equal_a_loop_and_survive_a_checkpoint() -> None:
    generator = np.random.default_rng(0)
    steps = [step(generator.integers(0, 50, 4).tolist(), generator.exponential(3, 4).astype(np.float32).tolist(),
                  generator.integers(0, 5, 4).tolist()) for _ in range(60)]  # fmt: skip
    straight, first, second = TrainingLossCollector(), TrainingLossCollector(), TrainingLossCollector()
    for k, outputs in enumerate(steps):
        straight.add(outputs)
        if k == 30:
            second.add(step([0], [99.0], [1]))
            second.load_state_dict(first.state_dict())
        (first if k < 30 else second).add(outputs)
    for scores in (straight, second):
        table = DifficultyTable(50, ["nll"])
        scores.enter(table, "nll", 0)
        np.testing.assert_allclose(table.scores["nll"], _reference(steps, 50), rtol=1e-12)


def test_a_step_that_returns_no_losses_is_refused() -> None:
    for outputs in (torch.tensor(1.0), {"loss": torch.tensor(1.0)}, None):
        with pytest.raises(
            ValueError, match=r"curriculum.training_loss_metric needs a training_step that returns index"
        ):
            TrainingLossCollector().add(outputs)


def test_a_broken_loss_is_refused() -> None:
    scores, table = TrainingLossCollector(), DifficultyTable(3, ["nll"])
    scores.add(step([1], [float("nan")], [2]))
    with pytest.raises(ValueError, match=r"curriculum\.training_loss_metric='nll': 1 of 1 .* stage 0 .* index 1"):
        scores.enter(table, "nll", 0)


def test_the_metric_has_to_be_the_mean_loss() -> None:
    check_training_loss_metric("nll", {"nll": NegativeLogLikelihood()})
    with pytest.raises(
        ValueError, match=r"curriculum.training_loss_metric='x' is none of curriculum.metrics \['nll'\]"
    ):
        check_training_loss_metric("x", {"nll": NegativeLogLikelihood()})
    with pytest.raises(ValueError, match=r"has formula ppl/1, but training computes nll-mean/1"):
        check_training_loss_metric("p", {"p": Perplexity()})


def worker(rank: int, world_size: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=world_size)
    scores, table = TrainingLossCollector(), DifficultyTable(6, ["nll"])
    for at in range(3):  # example 5 is in every step of both ranks: the last step's highest rank counts
        scores.add(step([5, at + 3 * rank if at + 3 * rank < 5 else 0], [10.0 * at + rank, at + 1.0], [1, 2]))
    again = TrainingLossCollector()
    again.load_state_dict(scores.state_dict())
    again.enter(table, "nll", 1)
    Path(folder, f"{rank}.json").write_text(json.dumps(table.scores["nll"].tolist()))
    dist.destroy_process_group()


@pytest.mark.slow
def test_every_rank_knows_the_losses_of_all(tmp_path: Path) -> None:
    with socket.socket() as free_socket:
        free_socket.bind(("127.0.0.1", 0))
        port = free_socket.getsockname()[1]
    mp.spawn(worker, (2, port, str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call]
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert found[0] == found[1] == [1.5, 1.0, 1.5, 0.5, 1.0, 21.0]
