"""Evaluation mode that leaves no trace on a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Set evaluation mode without gradients; restore every training flag and the random state at the end.

    A model may hold submodules in evaluation mode on purpose, such as frozen batch norms. So each flag is restored
    instead of calling ``train()``.
    """
    flags = [(m, m.training) for m in module.modules()]
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    module.eval()
    try:
        with torch.random.fork_rng(devices), torch.no_grad():
            yield
    finally:
        for submodule, training in flags:
            submodule.training = training
