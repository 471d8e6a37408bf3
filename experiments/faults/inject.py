"""Faults that strike a training process at one moment, and the ledger that shows what it trained on."""

from __future__ import annotations

import itertools
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_curriculum.utils.jsonl_log import JsonlLog

HOOKS = (
    "on_train_epoch_start", "on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end",
    "on_validation_batch_end", "on_validation_end", "on_train_epoch_end",
)  # fmt: skip
KINDS = (
    "sigkill", "sigterm", "exception", "kill in hook", "kill while scoring", "failing scorer", "kill while saving",
    "full disk",
)  # fmt: skip


class InjectedError(Exception):
    """Raised on purpose."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: One of :data:`KINDS`.
        after: Share of the undisturbed run's seconds (the two signals), in [0, 1], or of the number of calls of what
            is struck.
        hook: Where the fault sits, for those that sit in a hook.
    """

    kind: str
    after: float
    hook: str = ""

    def __str__(self) -> str:
        return f"{self.kind}{f' ({self.hook})' if self.hook else ''} at {self.after:.2f}"


Batches = JsonlLog[int, tuple[tuple[int, int], tuple[tuple[int, ...], str]]]


def batch_log(path: Path) -> Batches:
    """Number of a line -> stage and batch, examples and loss; a batch that was trained again has two lines."""
    numbers = itertools.count()
    return JsonlLog(
        path, lambda row: (next(numbers), ((row["stage"], row["batch"]), (tuple(row["ids"]), row["loss"]))), "batch"
    )


class Ledger(Callback):
    """Appends a line for every batch that has been trained on: stage, batch, example indices, exact loss."""

    def __init__(self, path: Path) -> None:
        self._log = batch_log(path)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        ids = batch.index[batch.weight > 0].tolist()
        line = {"stage": trainer.current_epoch, "batch": batch_idx, "ids": ids, "loss": float(outputs["loss"]).hex()}
        self._log.append([line])


class Counter(Callback):
    """Counts calls of everything that a fault may strike, so that its moment can be drawn."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    def count(self, name: str) -> int:
        self.calls[name] = self.calls.get(name, 0) + 1
        return self.calls[name]


def install(trainer: Trainer, module: LightningModule, fault: Fault | None, totals: dict[str, int]) -> Counter:
    """Count what faults may strike and let ``fault`` strike; signals come from outside.

    Args:
        trainer: Its hooks are wrapped.
        module: Its ``token_nll`` is wrapped; calls without gradients outside validation are scoring.
        fault: What strikes, or none.
        totals: Number of calls of an undisturbed run.
    """
    counter = Counter()

    def reached(name: str) -> bool:
        calls = counter.count(name)
        if fault is None or name not in totals:
            return False
        return calls == 1 + int(fault.after * (totals[name] - 1))

    for hook in HOOKS:
        _wrap_hook(counter, hook, reached, fault)
    trainer.callbacks.insert(0, counter)  # type: ignore[attr-defined]
    ask = module.token_nll

    def token_nll(batch: Any) -> Any:
        if not torch.is_grad_enabled() and not trainer.validating and reached("scoring"):
            if fault is not None and fault.kind == "failing scorer":
                raise InjectedError("the scorer fails")
            if fault is not None and fault.kind == "kill while scoring":
                os.kill(os.getpid(), signal.SIGKILL)
        return ask(batch)  # type: ignore[operator]

    object.__setattr__(module, "token_nll", token_nll)
    _wrap_save(reached, fault)
    return counter


def _wrap_hook(counter: Counter, hook: str, reached: Any, fault: Fault | None) -> None:
    def struck(*args: Any) -> None:
        if not reached(hook) or fault is None or fault.hook != hook:
            return
        if fault.kind == "exception":
            raise InjectedError(hook)
        if fault.kind == "kill in hook":
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(counter, hook, struck)


def _wrap_save(reached: Any, fault: Fault | None) -> None:
    save = torch.save

    def torn(thing: Any, file: Any) -> None:
        if reached("save") and fault is not None and fault.kind in ("kill while saving", "full disk"):
            file.write(b"half a checkpoint")
            file.flush()
            if fault.kind == "full disk":
                raise OSError(28, "No space left on device")
            os.kill(os.getpid(), signal.SIGKILL)
        save(thing, file)

    torch.save = torn
