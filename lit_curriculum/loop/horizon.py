"""How many optimizer steps a curriculum takes, known before the first of them."""

from __future__ import annotations

from collections.abc import Sequence


def stage_steps(size: int, batch_size: int, accumulate: int = 1) -> int:
    """Optimizer steps of a stage of ``size`` examples; the last, incomplete group of batches steps too.

    Args:
        size: Examples of the stage.
        batch_size: Global batch, in examples.
        accumulate: Batches per optimizer step.
    """
    num_batches = -(-size // batch_size)
    return -(-num_batches // accumulate)


def horizon_steps(sizes: Sequence[int], batch_size: int, accumulate: int = 1, max_steps: int = -1) -> int:
    """Optimizer steps of the whole run.

    Args:
        sizes: Examples of each stage.
        batch_size: Global batch, in examples.
        accumulate: Batches per optimizer step.
        max_steps: Where the run is stopped in any case; -1 for nowhere.
    """
    steps = sum(stage_steps(size, batch_size, accumulate) for size in sizes)
    return steps if max_steps < 0 else min(steps, max_steps)
