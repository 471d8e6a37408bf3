"""Scores by ability do not depend on how examples are cut into batches or spread over ranks."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lit_curriculum.evaluation.ability_scores import AbilityScores

NAMES = ("echo", "sort", "never")


def _batch(size: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "ability_codes": torch.randint(2, (size,), generator=generator),
        "exact": torch.rand(size, generator=generator) < 0.6,
        "nll_sum": 5 * torch.rand(size, generator=generator),
        "num_scored": torch.randint(1, 9, (size,), generator=generator),
        "chance": torch.rand(size, generator=generator).double() / 2,
    }


def _reference_scores(batch: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    out = {}
    for code, name in enumerate(NAMES):
        rows = [i for i in range(len(batch["exact"])) if int(batch["ability_codes"][i]) == code]
        if not rows:
            continue
        p = sum(bool(batch["exact"][i]) for i in rows) / len(rows)
        c = sum(float(batch["chance"][i]) for i in rows) / len(rows)
        nll = sum(float(batch["nll_sum"][i]) for i in rows) / sum(int(batch["num_scored"][i]) for i in rows)
        out[name] = {"accuracy": p, "nll": nll, "chance": c, "kappa": (p - c) / (1 - c), "num_examples": len(rows)}
    return out


def _assert_equal(scores: dict[str, dict[str, float]], expected: dict[str, dict[str, float]]) -> None:
    assert list(scores) == list(expected)
    for name, values in expected.items():
        assert scores[name] == pytest.approx(values, rel=1e-12)


def _rows(batch: dict[str, Tensor], start: int, end: int) -> dict[str, Tensor]:
    return {name: values[start:end] for name, values in batch.items()}


@pytest.mark.parametrize("cuts", [[0, 101], [0, 1, 2, 60, 101], [0, 100, 101], list(range(102))])
def test_uneven_batches(cuts: list[int]) -> None:
    batch = _batch(101)
    metric = AbilityScores(NAMES)
    for start, end in pairwise(cuts):
        metric.update(**_rows(batch, start, end))
    _assert_equal(metric.compute(), _reference_scores(batch))


@pytest.mark.parametrize("sizes", [[50, 51], [1, 100], [0, 101], [30, 30, 41]])
def test_uneven_ranks(sizes: list[int]) -> None:
    batch = _batch(101, seed=1)
    ranks, start = [], 0
    for size in sizes:
        metric = AbilityScores(NAMES)
        if size:
            metric.update(**_rows(batch, start, start + size))
        ranks.append(metric)
        start += size
    # What a sum-reduced metric does with the states that it gathers from the ranks.
    merged = AbilityScores(NAMES)
    for name in ("correct", "total", "chance", "nll", "tokens"):
        assert merged._reductions[name] is torch.sum or merged._reductions[name].__name__ == "dim_zero_sum"
        setattr(merged, name, torch.stack([getattr(metric, name) for metric in ranks]).sum(0))
    merged._update_count = 1
    _assert_equal(merged.compute(), _reference_scores(batch))
    ranks[0]._update_count = 1
    for other in ranks[1:]:
        ranks[0].merge_state(other)
    _assert_equal(ranks[0].compute(), _reference_scores(batch))


def _score_on_rank(rank: int, folder: str) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    batch = _batch(101, seed=2)
    metric = AbilityScores(NAMES)
    for piece in ((0, 7), (7, 70)) if rank == 0 else ((70, 101),):
        metric.update(**_rows(batch, *piece))
    Path(folder, f"{rank}.json").write_text(json.dumps(metric.compute()))
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_score_on_rank, args=(str(tmp_path),), nprocs=2)
    for rank in (0, 1):
        _assert_equal(json.loads((tmp_path / f"{rank}.json").read_text()), _reference_scores(_batch(101, seed=2)))


def test_an_ability_without_examples_is_absent_and_a_reset_forgets() -> None:
    metric = AbilityScores(NAMES)
    metric.update(**_batch(20))
    assert "never" not in metric.compute()
    metric.reset()
    metric.update(
        torch.tensor([2, 2]),
        torch.tensor([True, False]),
        torch.tensor([1.0, 2.0]),
        torch.tensor([2, 4]),
        torch.tensor([0.25, 0.25]),
    )
    assert metric.compute() == {
        "never": {"accuracy": 0.5, "nll": 0.5, "chance": 0.25, "kappa": pytest.approx(1 / 3), "num_examples": 2}
    }


def test_unknown_chance_is_nan_for_the_ability_concerned() -> None:
    metric = AbilityScores(NAMES)
    ones = torch.ones(2)
    metric.update(torch.tensor([0, 1]), ones.bool(), ones, ones.long(), torch.tensor([0.5, math.nan]))
    metric.update(torch.tensor([1]), ones[:1].bool(), ones[:1], ones[:1].long())
    scores = metric.compute()
    assert scores["echo"]["kappa"] == 1.0
    assert math.isnan(scores["sort"]["chance"])
    assert math.isnan(scores["sort"]["kappa"])
    assert scores["sort"]["accuracy"] == 1.0


def test_long_sums_keep_their_digits() -> None:
    metric = AbilityScores(("echo",))
    many = 200_000
    for _ in range(10):
        metric.update(
            torch.zeros(many, dtype=torch.int64),
            torch.ones(many, dtype=torch.bool),
            torch.full((many,), 0.1),
            torch.ones(many, dtype=torch.int64),
        )
    assert metric.compute()["echo"]["nll"] == pytest.approx(float(torch.tensor(0.1)), rel=1e-12)
