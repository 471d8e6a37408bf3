"""How far the plan in force has been trained on, and whether a checkpoint of this moment can be continued."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer

from lit_curriculum.callbacks.checks import curriculum_data
from lit_curriculum.callbacks.resume import CONTINUABLE, batches_done, rewrite_loops, step_unfinished


class StageProgress:
    """Follows one run through its stages; Lightning's own counters lag behind at some of the moments it knows.

    Attributes:
        stage: The stage whose plan is in force; -1 before the first is planned.
        untouched: No batch of that plan has been started.
        stepping: Gradients are ready and the optimizer may be changing weights.
        restored: Optimizer and loops are those of the checkpoint, which happens after ``on_fit_start``.
    """

    def __init__(self) -> None:
        self.stage = -1
        self.untouched = True
        self.stepping = False
        self.restored = False

    def begin_plan(self, stage: int, rows_done: int = 0) -> None:
        """Note that a plan has come into force, ``rows_done`` rows of it trained on by the run that is continued."""
        self.stage = stage
        self.untouched = rows_done == 0

    def begin_batch(self) -> None:
        """Note that a batch of the plan is about to be trained on."""
        self.untouched = self.stepping = False

    def batches_done(self, trainer: Trainer) -> int:
        """Batches of the plan in force whose effect is in the weights."""
        if self.untouched:
            return 0  # Lightning's counters may still be those of the stage before
        return batches_done(trainer, num_batches(trainer))

    def rows_done(self, trainer: Trainer) -> int:
        """Rows of the plan in force whose effect is in the weights."""
        return min(self.batches_done(trainer) * curriculum_data(trainer).sampler.batch_size, plan_size(trainer))

    def continuable(self, trainer: Trainer) -> bool:
        """Whether a checkpoint of this moment can be continued exactly."""
        torn = self.stepping and step_unfinished(trainer.fit_loop.state_dict())
        return self.restored and self.stage >= 0 and not torn

    def save(self, trainer: Trainer, checkpoint: dict[str, Any]) -> None:
        """Say in ``checkpoint`` whether it can be continued, and put its loops into a shape that can be."""
        checkpoint[CONTINUABLE] = self.continuable(trainer)
        if self.stage >= 0 and "loops" in checkpoint:
            loops = checkpoint["loops"]["fit_loop"]
            rewrite_loops(loops, self.stage, self.batches_done(trainer), num_batches(trainer))


def plan_size(trainer: Trainer) -> int:
    """Rows of the plan in force."""
    plan = curriculum_data(trainer).sampler.plan
    assert plan is not None
    return len(plan)


def num_batches(trainer: Trainer) -> int:
    """Batches of the plan in force, the last of which may be incomplete."""
    return -(-plan_size(trainer) // curriculum_data(trainer).sampler.batch_size)


def check_continuable(checkpoint: dict[str, Any]) -> None:
    """Refuse a checkpoint that cannot be continued exactly.

    Raises:
        ValueError: it says so of itself.
    """
    if not checkpoint.get(CONTINUABLE, True):
        raise ValueError(
            "this checkpoint cannot be continued: it was written before the first stage was planned or while an "
            "optimizer step was changing weights; resume from the one before it."
        )
