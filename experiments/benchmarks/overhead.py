"""What the curriculum machinery costs: a training step with it against a plain loop, and a plan of ten million.

Both trainers run the same module on the same batches in the same order; one reads a plain list of indices, the other
has the curriculum callback, its table, the sampler, the selection log and a checkpoint of all of it at the end. The
policy asks for no scores: the price of scoring is the method's, and is measured in ``scoring.py``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from experiments.common import Row, print_rows, summary, write_results
from lit_curriculum import (
    AbilityDataModule,
    CausalLMModule,
    CurriculumCallback,
    CurriculumSampler,
    SelectionLog,
    UniformPolicy,
)
from lit_curriculum.loop.resume import seed_step
from lit_curriculum.types import Plan


class StepTimes(Callback):
    """Seconds from the end of each training batch to the end of the next."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last: float | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self.seconds.append(now - self._last)
        self._last = now


class PlainData(AbilityDataModule):
    """The same data read in a fixed order, without a sampler of ours."""

    def train_dataloader(self) -> Any:
        loader = super().train_dataloader()
        order = [(int(i), 1.0) for i in np.random.default_rng(0).permutation(len(self.train_store))]
        return DataLoader(
            loader.dataset, batch_size=self.batch_size, sampler=order, collate_fn=loader.collate_fn, num_workers=0
        )


def run(curriculum: bool, hidden: int, examples: int, folder: Path) -> list[float]:
    """Step times of one epoch."""
    config = {
        "model_type": "llama", "vocab_size": 102, "hidden_size": hidden, "intermediate_size": 4 * hidden,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 64,
    }  # fmt: skip
    module = CausalLMModule(config=config, optimizer=lambda p: torch.optim.AdamW(p, lr=1e-3))
    times = StepTimes()
    kind = AbilityDataModule if curriculum else PlainData
    data = kind(num_train=examples, num_val_per_ability=1, batch_size=32, cache_dir=str(folder / "cache"))
    ours: list[Callback] = [CurriculumCallback(UniformPolicy()), SelectionLog(str(folder))] if curriculum else []
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, reload_dataloaders_every_n_epochs=1, callbacks=[*ours, times],
        default_root_dir=folder,
    )  # fmt: skip
    started = time.perf_counter()
    trainer.fit(module, data)
    return [*times.seconds, time.perf_counter() - started]


def own_work(batch_size: int, repeats: int = 2000) -> float:
    """Seconds that the sampler and the callback's hooks take of one step, measured alone."""
    sampler = CurriculumSampler(repeats * batch_size, 1, 0, batch_size)
    sampler.set_plan(Plan(indices=np.arange(repeats * batch_size)), 0)
    entries = iter(sampler)
    next(entries)
    started = time.perf_counter()
    for batch in range(repeats - 1):
        for _ in range(batch_size):
            next(entries)
        seed_step(0, 0, batch, 0)
    return (time.perf_counter() - started) / (repeats - 1)


def plan_of(size: int) -> list[Row]:
    """Seconds and memory for putting a plan of ``size`` examples in force and reading its first entry."""
    indices = np.random.default_rng(0).permutation(size)
    sampler = CurriculumSampler(size, 1, 0, 32)
    seconds = []
    tracemalloc.start()
    for _ in range(5):
        started = time.perf_counter()
        sampler.set_plan(Plan(indices=indices), 0)
        next(iter(sampler))
        seconds.append(time.perf_counter() - started)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    name = f"plan of {size:,} examples"
    return [
        summary(f"{name}: set and first entry", seconds, "s"),
        {"name": f"{name}: memory, the plan itself included", "value": (peak + indices.nbytes) / 1e6, "unit": "MB"},
    ]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/overhead"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--hidden", type=int, default=128, help="width of the model; the step's own work grows with it")
    parser.add_argument("--examples", type=int, default=3200)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    rounds, examples = (2, 320) if given.quick else (given.rounds, given.examples)
    medians: dict[str, list[float]] = {"plain": [], "curriculum": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(True, given.hidden, 320, folder)  # warm up
        for index in range(rounds):
            # By turns, and in turned order, so that a slow spell of the machine hits both alike.
            for kind in ("plain", "curriculum") if index % 2 else ("curriculum", "plain"):
                steps = run(kind == "curriculum", given.hidden, examples, folder)[:-1]
                medians[kind].append(statistics.median(steps))
    ratios = [c / p for c, p in zip(medians["curriculum"], medians["plain"], strict=True)]
    rows = [
        summary("training step, plain Lightning loop", medians["plain"], "s"),
        summary("training step, with the curriculum", medians["curriculum"], "s"),
        summary("ratio of the medians of a round", ratios, "ratio"),
        {
            "name": "ratio of the fastest rounds",
            "value": min(medians["curriculum"]) / min(medians["plain"]),
            "unit": "ratio",
        },
        {"name": "sampler and hooks alone, per step", "value": own_work(32), "unit": "s"},
        *plan_of(100_000 if given.quick else 10_000_000),
    ]
    print_rows(rows)
    write_results(given.out, rows, {"rounds": rounds, "hidden": given.hidden, "examples": examples})


if __name__ == "__main__":
    main()
