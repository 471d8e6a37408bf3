"""Look at a model without leaving a trace on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every flag and the random state are as they were.

    A model may hold submodules in evaluation mode on purpose (frozen batch norms, say), so each flag is kept by
    itself instead of calling ``train()`` at the end.
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
