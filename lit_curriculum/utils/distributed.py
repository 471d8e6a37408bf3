"""Collective operations over the ranks of a run; in a single process they do nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

T = TypeVar("T")
S = TypeVar("S")


def rank_and_world() -> tuple[int, int]:
    """Rank of this process and number of ranks; 0 and 1 without ``torch.distributed``."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def all_reduce_min(value: float, device: torch.device) -> float:
    """Minimum of all ranks' values."""
    return -all_reduce_max(-value, device)


def all_reduce_max(value: float, device: torch.device) -> float:
    """Maximum of all ranks' values."""
    if rank_and_world()[1] == 1:
        return value
    box = torch.tensor([value], dtype=torch.float64, device=device)
    dist.all_reduce(box, dist.ReduceOp.MAX)
    return float(box)


def broadcast_object(value: T, device: torch.device) -> T:
    """Send rank zero's value to every rank."""
    if rank_and_world()[1] == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, device=device)
    return box[0]


def scatter(items: Sequence[S], run: Callable[[list[S]], list[T]], together: bool) -> list[T]:
    """Run ``items`` in shares, one per rank, and return the results of all items on every rank.

    Args:
        items: Items, the same on all ranks.
        run: Makes one result for each item of a list.
        together: Run all items on every rank, as weights that are sharded over the ranks require.
    """
    rank, world_size = rank_and_world()
    if world_size == 1 or together:
        return run(list(items))
    shares: list[list[T]] = [[] for _ in range(world_size)]
    dist.all_gather_object(shares, run(list(items[rank::world_size])))
    return [shares[k % world_size][k // world_size] for k in range(len(items))]


def all_gather_columns(table: NDArray[Any]) -> NDArray[Any]:
    """Concatenate the ranks' tables [K, n], whose widths may differ, on every rank."""
    _, world_size = rank_and_world()
    if world_size == 1:
        return table
    parts: list[Any] = [None] * world_size
    dist.all_gather_object(parts, table)
    return np.concatenate(parts, axis=1)


def all_reduce_sum(table: Tensor) -> Tensor:
    """Sum of all ranks' tables; exact if every element is zero on all ranks but one."""
    if rank_and_world()[1] > 1:
        dist.all_reduce(table)
    return table
