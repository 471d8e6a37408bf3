"""What makes a checkpoint of any moment continue exactly: one shape of loop progress, and the run's identity.

Lightning restores its loops by recognising the moment at which a checkpoint was written from the pattern of its
progress counters. Some moments (the last batch of an epoch, an exception inside a hook, the middle of a group of
accumulated batches) resume with a hook skipped or a batch counted twice. So every checkpoint of a curriculum is
rewritten to one of two shapes that are known to continue exactly: between two stages, or after a finished
optimizer step inside a stage.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.data.store import content_digest
from lit_curriculum.loop.checks import curriculum_data

CONTINUABLE = "curriculum_continuable"
"""Key of a checkpoint: whether a run can be continued from it exactly."""
_BATCH = "epoch_loop.batch_progress"
_EPOCH = "epoch_progress"
_EPOCH_LOOP = "epoch_loop.state_dict"
_OPTIMIZER = "epoch_loop.automatic_optimization.optim_progress"
_VALIDATION = "epoch_loop.val_loop.batch_progress"


def batches_done(trainer: Trainer, num_batches: int) -> int:
    """Batches of the running stage whose effect is in the weights.

    Inside a group of accumulated batches the weights are still those before the group, so the group is taken
    back and made again after a resume.

    Args:
        trainer: Its progress counters are read.
        num_batches: Batches of the whole stage; the last group may be incomplete and steps all the same.
    """
    # ``processed``: the checkpoint of a step is written before ``completed`` is raised.
    done: int = trainer.fit_loop.epoch_loop.batch_progress.current.processed  # type: ignore[attr-defined]
    if done >= num_batches:
        return num_batches
    return done - done % trainer.accumulate_grad_batches


def rewrite_loops(loops: dict[str, Any], stage: int, done: int, num_batches: int) -> None:
    """Put the progress counters of a checkpoint into one of the two shapes, in place.

    Args:
        loops: ``checkpoint["loops"]["fit_loop"]``.
        stage: The stage whose plan is in force.
        done: Batches of it that count, from :func:`batches_done`.
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
    """True where an optimizer step had been started and not ended; forward and backward pass are part of it."""
    step = loops[_OPTIMIZER]["optimizer"]["step"]["total"]
    return bool(step["ready"] != step["completed"])


def options_of(thing: object) -> dict[str, Any]:
    """The constructor's arguments that the object keeps by the same name: plain ones, policies, parts with a name."""
    names = inspect.signature(type(thing).__init__).parameters
    plain = (str, int, float, bool, type(None), list, tuple, dict)
    kept = {n: getattr(thing, n, inspect) for n in names}
    inner = {
        n: {"class": type(v).__qualname__, **options_of(v)} for n, v in kept.items() if isinstance(v, CurriculumPolicy)
    }
    named = {n: v.name for n, v in kept.items() if isinstance(getattr(v, "name", None), str)}
    return {n: v for n, v in kept.items() if isinstance(v, plain)} | inner | named


def run_identity(trainer: Trainer, policy: CurriculumPolicy) -> dict[str, Any]:
    """Policy, batches and data of a run: with its own options a callback knows what its order depends on."""
    data = curriculum_data(trainer)
    store = data.train_store
    encoding: Mapping[str, Any] = getattr(store, "identity", {})
    return {
        "curriculum.policy": type(policy).__qualname__,
        "curriculum.policy options": options_of(policy),
        "data.batch_size": data.sampler.batch_size,
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches,
        "number of examples": len(store),
        "content of the data": content_digest(store, 8),
        **encoding,
    }


def seed_step(seed: int, stage: int, batch: int, rank: int) -> None:
    """Set torch's random state from these four, so that dropout repeats after a resume from any moment."""
    mixed = (((seed * 1_000_003 + stage) * 1_000_003 + batch) * 1_000_003 + rank) % (1 << 63)
    torch.manual_seed(mixed)


def digest(identity: Mapping[str, Any]) -> str:
    """A short name for an identity, fit for a folder."""
    return hashlib.blake2b(json.dumps(identity, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def check_identity(saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Refuse to continue a run that differs in what decides on its order.

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
    """Follows one run through its stages; Lightning's own counters lag behind at some of the moments it knows.

    Attributes:
        stage: The stage whose plan is in force; -1 before the first is planned.
        no_batch_started: No batch of that plan has been started.
        stepping: Gradients are ready and the optimizer may be changing weights.
        restored: Optimizer and loops are those of the checkpoint, which happens after ``on_fit_start``.
    """

    def __init__(self) -> None:
        self.stage = -1
        self.no_batch_started = True
        self.stepping = False
        self.restored = False

    def begin_plan(self, stage: int, rows_done: int = 0) -> None:
        """Note that a plan has come into force, ``rows_done`` rows of it trained on by the run that is continued."""
        self.stage = stage
        self.no_batch_started = rows_done == 0

    def begin_batch(self) -> None:
        """Note that a batch of the plan is about to be trained on."""
        self.no_batch_started = self.stepping = False

    def batches_done(self, trainer: Trainer) -> int:
        """Batches of the plan in force whose effect is in the weights."""
        if self.no_batch_started:
            return 0  # Lightning's counters may still be those of the stage before
        return batches_done(trainer, num_batches(trainer))

    def rows_done(self, trainer: Trainer) -> int:
        """Rows of the plan in force whose effect is in the weights."""
        return min(self.batches_done(trainer) * curriculum_data(trainer).sampler.batch_size, plan_size(trainer))

    def continuable(self, trainer: Trainer) -> bool:
        """Whether a checkpoint of this moment can be continued exactly."""
        mid_step = self.stepping and step_unfinished(trainer.fit_loop.state_dict())
        return self.restored and self.stage >= 0 and not mid_step

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
