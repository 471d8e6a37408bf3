"""Run a curriculum undisturbed, then again and again with faults, resuming until it is done; compare the ledgers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from experiments.faults.inject import HOOKS, KINDS, Fault, Ledger, batch_log, install
from lit_curriculum import ExceptionCheckpoint
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.loop.checkpoints import latest_checkpoint

CONFIGS = Path(__file__).parents[2] / "configs"
# A few bands, so that a run has about as many stages as those of the others.
_CAMPUS = (
    "--curriculum.policy.num_bands=3", "--curriculum.policy.budget_passes=1.5", "--trainer.check_val_every_n_epoch=1",
    "--trainer.val_check_interval=1.0",  # the first band is a single batch
)  # fmt: skip
OPTIONS: Mapping[str, Sequence[str]] = {
    "iterit": ("--curriculum.policy.fraction=0.2",),
    "campus": _CAMPUS,
    "campus_three_views": _CAMPUS,
}
STAGES: Mapping[str, int] = {"campus": 9, "campus_three_views": 7, "infobatch": 6, "selective_backprop": 7}
"""Most stages of a run that ends when its budget is spent."""
MAX_ATTEMPTS = 8


@dataclass(frozen=True)
class Setting:
    """One configuration; every run of it, disturbed or not, has to do the same.

    Attributes:
        method: A file of ``configs/curriculum``.
        accumulate: Batches per optimizer step.
        examples: Size of the data.
        stages: Number of stages.
    """

    method: str
    accumulate: int = 1
    examples: int = 200
    stages: int = 4


def arguments(setting: Setting, folder: Path, workers: int) -> list[str]:
    """Options of the command line: the embedded default made small, with dropout so that random numbers matter."""
    layers = ["base", "model/tiny", "data/abilities", f"curriculum/{setting.method}", "debug"]
    return [
        *(f"--config={CONFIGS / layer}.yaml" for layer in layers),
        f"--trainer.max_epochs={STAGES.get(setting.method, setting.stages)}",
        f"--trainer.accumulate_grad_batches={setting.accumulate}",
        "--trainer.logger=false",
        "--trainer.callbacks=[]",
        "--trainer.val_check_interval=3",
        *OPTIONS.get(setting.method, ()),
        f"--trainer.default_root_dir={folder}",
        '--model.config={"model_type": "llama", "vocab_size": 102, "hidden_size": 32, "intermediate_size": 64, '
        '"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64, '
        '"attention_dropout": 0.2}',
        "--model.attention=eager",  # the one that applies dropout alike everywhere
        f"--data.num_train={setting.examples}",
        "--data.num_val_per_ability=4",
        "--data.batch_size=8",
        f"--data.num_workers={workers}",
        f"--data.cache_dir={folder.parent / 'cache'}",
    ]


def train(setting: Setting, folder: Path, fault: Fault | None, totals: dict[str, int], workers: int) -> None:
    """One attempt in this process: continue from the newest whole checkpoint, if there is one."""
    torch.set_num_threads(1)
    cli = CurriculumCLI(arguments(setting, folder, workers), run=False)
    checkpoints = folder / "checkpoints"
    trainer = cli.trainer
    trainer.callbacks += [
        ModelCheckpoint(checkpoints, filename="{epoch}-{step}", every_n_train_steps=2, save_top_k=1, monitor="step",
                        mode="max", save_last=True),
        ModelCheckpoint(checkpoints, filename="stage-{epoch}", every_n_epochs=1, save_top_k=1, monitor="epoch",
                        mode="max"),
        ExceptionCheckpoint(str(checkpoints)),
    ]  # fmt: skip
    counter = install(trainer, cli.model, fault, totals)
    # Before the faults: a batch whose step is done is written down even where the very next hook fails.
    trainer.callbacks.insert(0, Ledger(folder / "ledger.jsonl"))
    newest = latest_checkpoint(checkpoints)
    trainer.fit(cli.model, cli.datamodule, ckpt_path=newest, weights_only=True)
    digest = hashlib.sha256()
    for name, value in sorted(cli.model.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    (folder / "final.json").write_text(json.dumps({"weights": digest.hexdigest(), "calls": counter.calls}))


def attempt(
    setting: Setting, folder: Path, fault: Fault | None, totals: dict[str, int], workers: int, seconds: float
) -> None:
    """One attempt in a forked process, struck by a signal from here where the fault is one."""
    folder.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with (folder / "log.txt").open("a") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            train(setting, folder, fault, totals, workers)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    if fault is not None and fault.kind in ("sigkill", "sigterm"):
        time.sleep(fault.after * seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL if fault.kind == "sigkill" else signal.SIGTERM)
    os.waitpid(child, 0)


@dataclass(frozen=True)
class Reference:
    """What the undisturbed run did."""

    ledger: dict[tuple[int, int], tuple[tuple[int, ...], str]]
    weights: str
    calls: dict[str, int]
    seconds: float


def read_ledger(path: Path) -> list[tuple[tuple[int, int], tuple[tuple[int, ...], str]]]:
    """All lines in the order in which they were written; a line that a kill cut short is left out."""
    return list(batch_log(path).entries.values())


def reference(setting: Setting, folder: Path) -> Reference:
    """Run once undisturbed."""
    attempt(setting, folder, None, {}, 0, 0.0)  # fills the cache of encoded data
    for path in (folder / "ledger.jsonl", *(folder / "checkpoints").glob("*.ckpt")):
        path.unlink()
    started = time.perf_counter()
    attempt(setting, folder, None, {}, 0, 0.0)
    seconds = time.perf_counter() - started
    final = json.loads((folder / "final.json").read_text())
    return Reference(dict(read_ledger(folder / "ledger.jsonl")), final["weights"], final["calls"], seconds)


def draw_fault(rng: np.random.Generator) -> Fault:
    """A fault of a random kind at a random moment."""
    kind = str(rng.choice(KINDS))
    hook = str(rng.choice(HOOKS)) if kind in ("exception", "kill in hook") else ""
    return Fault(kind, float(rng.uniform()), hook)


def disturbed(setting: Setting, folder: Path, faults: Sequence[Fault], truth: Reference, workers: int) -> str:
    """Run with ``faults``, one an attempt, resuming until done; the first difference to ``truth``, or nothing."""
    for number in range(MAX_ATTEMPTS):
        fault = faults[number] if number < len(faults) else None
        attempt(setting, folder, fault, truth.calls, workers, truth.seconds)
        if (folder / "final.json").exists():
            break
    else:
        return f"not done after {MAX_ATTEMPTS} attempts"
    lines = read_ledger(folder / "ledger.jsonl")
    for place, found in lines:
        if truth.ledger.get(place) != found:
            return f"stage {place[0]} batch {place[1]} trained on {found}, undisturbed on {truth.ledger.get(place)}"
    missing = set(truth.ledger) - {place for place, _ in lines}
    if missing:
        return f"stage and batch {min(missing)} never trained"
    if json.loads((folder / "final.json").read_text())["weights"] != truth.weights:
        return "final weights differ"
    return ""
