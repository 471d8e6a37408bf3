"""Peak memory of a call beyond what was in use before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def cuda_peak(run: Callable[[], object], device: torch.device) -> int:
    """Bytes that PyTorch's allocator has handed out at most, beyond those before the call."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def peak_of_process(run: Callable[[], object]) -> int:
    """Bytes of resident memory at most, beyond those before the call (Linux); call it in a fresh process."""
    _CLEAR.write_text("5")  # resets the high-water mark
    before = _resident("VmRSS")
    run()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
