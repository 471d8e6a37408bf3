"""Exact resume from a checkpoint of any moment: progress counters that Lightning resumes right, and run identity.

Lightning derives from its progress counters when a checkpoint was written. After some moments (the last
batch of an epoch, an exception in a hook, the middle of a group of accumulated batches) it skips a hook or counts a
batch twice. So the counters of every checkpoint are rewritten to one of two moments that resume exactly: between two
stages, or after an optimizer step inside a stage.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer

from lit_curriculum.data.store import content_digest
from lit_curriculum.loop.checks import curriculum_data
from lit_curriculum.loop.planner import StagePlanner
from lit_curriculum.utils.options import Configured, flat_options

RESUMABLE = "curriculum_continuable"
"""Key of a checkpoint: whether a run can resume from it exactly."""
_BATCH = "epoch_loop.batch_progress"
_EPOCH = "epoch_progress"
_EPOCH_LOOP = "epoch_loop.state_dict"
_OPTIMIZER = "epoch_loop.automatic_optimization.optim_progress"
_VALIDATION = "epoch_loop.val_loop.batch_progress"


def batches_done(trainer: Trainer, num_batches: int) -> int:
    """Batches of the running stage whose effect is in the weights.

    Inside a group of accumulated batches the weights are still those before the group. So the group does not count,
    and a resumed run repeats it.

    Args:
        trainer: Its progress counters are read.
        num_batches: Batches of the whole stage; an incomplete last group makes a step too.
    """
    # ``processed``: the checkpoint of a step is written before ``completed`` is raised.
    done: int = trainer.fit_loop.epoch_loop.batch_progress.current.processed  # type: ignore[attr-defined]
    if done >= num_batches:
        return num_batches
    return done - done % trainer.accumulate_grad_batches


def rewrite_loops(loops: dict[str, Any], stage: int, done: int, num_batches: int) -> None:
    """Rewrite the progress counters of a checkpoint to one of the two moments, in place.

    Args:
        loops: ``checkpoint["loops"]["fit_loop"]``.
        stage: The stage whose plan is in force.
        done: Batches whose effect is in the weights, from :func:`batches_done`.
        num_batches: Batches of the whole stage.
    """
    epoch, batch = loops[_EPOCH], loops[_BATCH]
    steps = loops[_OPTIMIZER]["optimizer"]["step"]["total"]["completed"]
    inside = 0 < done < num_batches
    finished_epochs = stage + 1 if done >= num_batches else stage
    for part in ("total", "current"):
        if inside:
            epoch[part] = {"ready": stage + 1, "started": stage + 1, "processed": stage, "completed": stage}
        else:
            # As Lightning writes it at the end of an epoch: ``completed`` is raised after the checkpoint hooks.
            epoch[part] = dict.fromkeys(("ready", "started", "processed"), finished_epochs)
            epoch[part]["completed"] = max(finished_epochs - 1, 0)
    total = batch["total"]["processed"] - (batch["current"]["processed"] - done if inside else 0)
    completed_less = 1 if inside else 0
    for part, value in (("total", total), ("current", done if inside else batch["current"]["processed"])):
        batch[part] = {"ready": value, "started": value, "processed": value, "completed": value - completed_less}
    batch["is_last_batch"] = not inside
    # Logger steps: inside a stage the batch that stepped is counted after the checkpoint hooks.
    loops[_EPOCH_LOOP]["_batches_that_stepped"] = steps - 1 if inside else steps
    for part in ("total", "current"):
        loops[_VALIDATION][part] = dict.fromkeys(loops[_VALIDATION][part], 0)


def step_unfinished(loops: Mapping[str, Any]) -> bool:
    """Whether an optimizer step is unfinished; forward and backward pass are part of it."""
    step = loops[_OPTIMIZER]["optimizer"]["step"]["total"]
    return bool(step["ready"] != step["completed"])


def run_identity(trainer: Trainer, planner: StagePlanner) -> dict[str, Any]:
    """Everything that the order of a run depends on, and that has to be equal when it is resumed."""
    data = curriculum_data(trainer)
    store = data.train_store
    encoding: Mapping[str, Any] = getattr(store, "identity", {})
    parts: dict[str, object] = {"curriculum.policy": planner.policy}
    parts |= {f"curriculum.metrics.{name}": metric for name, metric in planner.metrics.items()}
    parts |= {type(callback).__name__: callback for callback in trainer.callbacks}  # type: ignore[attr-defined]
    options: dict[str, Any] = {}
    for path, part in parts.items():
        if isinstance(part, Configured):
            options |= flat_options(path, part, runtime=False)
    return {
        "curriculum.seed": planner.seed,
        "curriculum.metrics": planner.formulas,
        "curriculum.training_loss_metric": planner.training_loss_metric,
        **options,
        "data.batch_size": data.sampler.batch_size,
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches,
        "number of examples": len(store),
        "content of the data": content_digest(store, 8),
        **encoding,
    }


def seed_step(seed: int, stage: int, batch: int, rank: int) -> None:
    """Seed torch for one training step, so that dropout repeats after a resume from any moment."""
    mixed = (((seed * 1_000_003 + stage) * 1_000_003 + batch) * 1_000_003 + rank) % (1 << 63)
    torch.manual_seed(mixed)


def run_name(trainer: Trainer, planner: StagePlanner) -> str:
    """A short folder name for a run and all restarts of it."""
    identity = json.dumps(run_identity(trainer, planner), sort_keys=True)
    return hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()


def check_identity(saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Refuse to resume a run with other options or data than it was started with.

    Raises:
        ValueError: names the first thing that differs, with both values.
    """
    for name in current:
        if name in saved and saved[name] != current[name]:
            raise ValueError(
                f"this checkpoint belongs to another run: {name} was {saved[name]!r} and is {current[name]!r} now; "
                "resume with the configuration and data that the run was started with, or start a new run."
            )


class StageProgress:
    """The position of a run inside its stage, where Lightning's own counters lag behind.

    Args:
        planner: Plans the stages of the run.

    Attributes:
        stepping: Gradients are ready and the optimizer may be changing weights.
        restored: Optimizer and loops are those of the checkpoint, which happens after ``on_fit_start``.
    """

    def __init__(self, planner: StagePlanner) -> None:
        self._planner = planner
        self._batch_stage: int | None = None
        self.stepping = False
        self.restored = False

    def begin_batch(self) -> None:
        """Note that a batch of the plan in force is about to be trained on."""
        self._batch_stage, self.stepping = self._planner.stage, False

    @property
    def _num_rows(self) -> int:
        """Rows of the plan in force."""
        plan = self._planner.sampler.plan
        assert plan is not None
        return len(plan)

    @property
    def _num_batches(self) -> int:
        """Batches of the plan in force; the last may be incomplete."""
        return -(-self._num_rows // self._planner.sampler.batch_size)

    def batches_done(self, trainer: Trainer) -> int:
        """Batches of the plan in force whose effect is in the weights."""
        if self._batch_stage != self._planner.stage:
            return 0  # Lightning's counters may still be those of the stage before
        return batches_done(trainer, self._num_batches)

    def state_dict(self, trainer: Trainer) -> dict[str, Any]:
        """Rows of the plan in force whose effect is in the weights, and the run's identity."""
        rows = min(self.batches_done(trainer) * self._planner.sampler.batch_size, self._num_rows)
        return {"start": rows, "identity": run_identity(trainer, self._planner)}

    def resume(self, trainer: Trainer, state: Mapping[str, Any]) -> bool:
        """Restore planner and position; returns whether all rows of the plan in force have been trained on.

        Raises:
            ValueError: the state belongs to a run with other options or data.
        """
        check_identity(state["identity"], run_identity(trainer, self._planner))
        # Lightning cannot see that the sampler starts where the checkpoint stopped.
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable")
        start = int(state["start"])
        self._planner.load_state_dict(state, start)
        self._batch_stage = self._planner.stage if start else None
        return start == self._num_rows

    def is_resumable(self, trainer: Trainer) -> bool:
        """Whether a checkpoint of this moment can be resumed exactly."""
        mid_step = self.stepping and step_unfinished(trainer.fit_loop.state_dict())
        return self.restored and self._planner.stage >= 0 and not mid_step

    def save(self, trainer: Trainer, checkpoint: dict[str, Any]) -> None:
        """Mark ``checkpoint`` as resumable or not, and rewrite its progress counters."""
        checkpoint[RESUMABLE] = self.is_resumable(trainer)
        if self._planner.stage >= 0 and "loops" in checkpoint:
            loops = checkpoint["loops"]["fit_loop"]
            rewrite_loops(loops, self._planner.stage, self.batches_done(trainer), self._num_batches)


def check_resumable(checkpoint: dict[str, Any]) -> None:
    """Refuse a checkpoint that cannot be resumed exactly.

    Raises:
        ValueError: the checkpoint is marked so.
    """
    if not checkpoint.get(RESUMABLE, True):
        raise ValueError(
            "this checkpoint cannot be resumed: it was written before the first stage was planned or while an "
            "optimizer step was changing weights; resume from an earlier one."
        )
