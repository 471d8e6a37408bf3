"""What the processes of a run tell each other while they score."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def smallest(value: float, device: torch.device) -> float:
    """The smallest of all ranks' values."""
    return -largest(-value, device)


def largest(value: float, device: torch.device) -> float:
    """The largest of all ranks' values."""
    if rank_and_world()[1] == 1:
        return value
    box = torch.tensor([value], dtype=torch.float64, device=device)
    dist.all_reduce(box, dist.ReduceOp.MAX)
    return float(box)


def from_rank_zero(value: T, device: torch.device) -> T:
    """Rank zero's value, on every rank."""
    if rank_and_world()[1] == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, device=device)
    return box[0]


def add_up(table: Tensor) -> Tensor:
    """Sum of all ranks' tables; exact where every element is zero on all ranks but one."""
    if rank_and_world()[1] > 1:
        dist.all_reduce(table)
    return table
