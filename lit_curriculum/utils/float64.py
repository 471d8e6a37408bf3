"""Numbers of double precision, for tensors of devices that have none too: Apple's GPUs."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def to_float64(tensor: Tensor) -> Tensor:
    """``tensor`` in float64: where it is, or on the processor where its device has no such numbers."""
    return (tensor if has_doubles(tensor.device.type) else tensor.cpu()).to(torch.float64)


@cache
def has_doubles(kind: str) -> bool:
    """Whether devices of this kind, such as ``cuda``, hold float64."""
    try:
        torch.zeros(1, dtype=torch.float64, device=kind)
    except (TypeError, RuntimeError):
        return False
    return True
