"""Double precision for tensors of any device; Apple's GPUs have none."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def to_float64(tensor: Tensor) -> Tensor:
    """Convert ``tensor`` to float64 on its device, or on the CPU if the device has no float64."""
    return (tensor if has_float64(tensor.device.type) else tensor.cpu()).to(torch.float64)


@cache
def has_float64(kind: str) -> bool:
    """Whether devices of this kind, such as ``cuda``, have float64."""
    try:
        torch.zeros(1, dtype=torch.float64, device=kind)
    except (TypeError, RuntimeError):
        return False
    return True
