"""What ledger and monitor cost beside training: CPU time of their hooks in a run, and of the run.

python -m experiments.benchmarks.watching --out results/watching [--quick]

A small model is trained for a few stages with the curriculum's default callbacks and TensorBoard. Each hook of ledger,
monitor and selection log is timed where it is called, in CPU time, so that other work on the machine does not
count; TensorBoard's own thread does. All is counted: what happens once (timing the machine's limit, the examples'
part of the ledger, the figures when training ends) as well as what happens at every stage and step. Shares are of the
training steps alone, scoring left out. A larger model or a longer run only makes them smaller.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from experiments.common import Row, print_rows, summary, write_results
from lit_curriculum import (
    AbilityDataModule,
    CausalLMModule,
    CurriculumCallback,
    CurriculumMonitor,
    InstructionFollowingDifficulty,
    IterITPolicy,
    LedgerWriter,
    SelectionLog,
)

STEP_HOOKS = ("on_train_batch_start", "on_train_batch_end")
OWNERS = ("CurriculumMonitor", "LedgerWriter", "SelectionLog")
STAGE_HOOKS = ("on_stage_planned", "on_train_epoch_end", "on_train_start", "on_train_end")


class StepTimes(Callback):
    """CPU time of training steps and of the whole fit."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self._last: float | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last = time.process_time()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.process_time()
        if self._last is not None:
            self.steps.append(now - self._last)
        self._last = now


def timed(callback: Callback, spent: dict[str, float]) -> Callback:
    """The callback, with the CPU time of its hooks added up under ``Class.hook``."""

    def around(name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            started = time.process_time()
            try:
                return hook(*args)
            finally:
                spent[name] += time.process_time() - started

        return run

    for name in (*STEP_HOOKS, *STAGE_HOOKS):
        if hasattr(callback, name):
            setattr(callback, name, around(f"{type(callback).__name__}.{name}", getattr(callback, name)))
    return callback


def measure(hidden: int, examples: int, stages: int, folder: Path) -> tuple[dict[str, float], list[float], float]:
    """Time of every hook, of every step, and of the whole fit, in seconds of CPU time."""
    config = {
        "model_type": "llama", "vocab_size": 102, "hidden_size": hidden, "intermediate_size": 4 * hidden,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 64,
    }  # fmt: skip
    spent: dict[str, float] = defaultdict(float)
    steps = StepTimes()
    watching = [timed(c, spent) for c in (CurriculumMonitor(), LedgerWriter(str(folder)), SelectionLog(str(folder)))]
    curriculum = CurriculumCallback(
        IterITPolicy(fraction=0.5, max_complexity=None), {"ifd": InstructionFollowingDifficulty()}
    )
    trainer = Trainer(
        accelerator="cpu", max_epochs=stages, logger=TensorBoardLogger(folder), enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, log_every_n_steps=10,
        reload_dataloaders_every_n_epochs=1, callbacks=[*watching, curriculum, steps], default_root_dir=folder,
    )  # fmt: skip
    module = CausalLMModule(config=config, optimizer=lambda p: torch.optim.AdamW(p, lr=1e-3))
    data = AbilityDataModule(num_train=examples, num_val_per_ability=1, batch_size=32, cache_dir=str(folder / "cache"))
    started = time.process_time()
    trainer.fit(module, data)
    return spent, steps.steps, time.process_time() - started


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/watching"))
    parser.add_argument("--hidden", type=int, default=256, help="width of the model")
    parser.add_argument("--examples", type=int, default=3200)
    parser.add_argument("--stages", type=int, default=4)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    examples, stages = (640, 2) if given.quick else (given.examples, given.stages)
    with tempfile.TemporaryDirectory() as name:
        spent, steps, whole = measure(given.hidden, examples, stages, Path(name))
    step = statistics.median(steps)
    rows: list[Row] = [
        summary("training step of the model, all callbacks included", steps, "s of processor time"),
        {"name": "whole run, scoring included", "value": whole, "unit": "s of processor time"},
    ]
    everything = 0.0
    for owner in OWNERS:
        of_steps = sum(spent[f"{owner}.{h}"] for h in STEP_HOOKS) / len(steps)
        of_stages = sum(spent[f"{owner}.{h}"] for h in STAGE_HOOKS)
        everything += of_stages + of_steps * len(steps)
        rows += [
            {"name": f"{owner}: hooks of a step", "value": of_steps * 1e6, "unit": "microseconds"},
            {"name": f"{owner}: hooks of a step, share of the step", "value": 100 * of_steps / step, "unit": "%"},
            {"name": f"{owner}: all other hooks", "value": 1000 * of_stages / stages, "unit": "ms a stage"},
            {
                "name": f"{owner}: all hooks, share of the training steps",
                "value": 100 * (of_stages + of_steps * len(steps)) / sum(steps),
                "unit": "%",
            },
        ]
    share = 100 * everything / sum(steps)
    rows.append({"name": "all three: all hooks, share of the training steps", "value": share, "unit": "%"})
    drawn = 100 * spent["CurriculumMonitor.on_train_end"] / sum(steps)
    rows.append({"name": "of it figures and totals when training ends", "value": drawn, "unit": "%"})
    print_rows(rows)
    write_results(given.out, rows, {"hidden": given.hidden, "examples": examples, "stages": stages, "seed": 0})


if __name__ == "__main__":
    main()
