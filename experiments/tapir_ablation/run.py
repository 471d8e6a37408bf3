"""TAPIR's ablations on the embedded default, where rules play teacher and judge and so are always right.

For each seed one student S_0 is trained on the raw data. Every row of the table starts from these same weights and
trains on the same number of tokens (``--tokens``, instructions and answers) with the same schedule; what differs is
which rows. Cells are kept in ``--out`` as they end, so rerun the same command to resume; with
``--shards`` several processes share the work, and ``--table`` writes the table afterwards.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
import warnings
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer

from experiments.ablation import CellLog, Measures, compare
from experiments.common import print_rows, write_results
from experiments.demo.tapir import true_level
from lit_curriculum import (
    AbilityDataModule,
    AbilityMonitor,
    CausalLMModule,
    CurriculumCallback,
    CurriculumObserver,
    CurriculumPolicy,
    StageReport,
    TapirPolicy,
    TapirRounds,
    UniformPolicy,
)
from lit_curriculum.methods.tapir.difficulty import ModelFittingDifficulty
from lit_curriculum.methods.tapir.teacher.procedural import (
    ProceduralClassifier,
    ProceduralExpander,
    ProceduralJudge,
    ProceduralRefiner,
    ProceduralTeacher,
)
from lit_curriculum.models.lr_schedules import WarmupCosine
from lit_curriculum.types import CONDITIONED
from lit_curriculum.utils.files import atomic_path

TARGETS = {
    "sort": 0.2, "add": 0.2, "reverse": 0.1, "brackets": 0.1, "copy": 0.08, "parity": 0.08, "lookup": 0.08,
    "style": 0.08, "echo": 0.08,
}  # fmt: skip
"""Ratios of the hard side: tasks of computing weigh more, as mathematics, reasoning and code do in the paper."""
MODEL = {
    "model_type": "llama", "vocab_size": 102, "hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 64, "tie_word_embeddings": True,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
CORE = (
    "M", "raw", "raw, new answers", "S", "no MFD", "no curriculum", "constant alpha", "falling alpha", "no task",
    "no expansion",
)  # fmt: skip
"""What is run unless --all is given."""
UNITS = {
    "accuracy": "share", "accuracy by target": "share", "hard share": "share", "level in the first stage": "level",
    "level in the last stage": "level", "tokens trained": "tokens", "rows trained": "rows", "role calls": "calls",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one row of the table trains on; the defaults are the whole method with three rounds."""

    rounds: int = 3
    alpha_start: float = 0.3
    alpha_step: float = 0.2
    pools: tuple[int, ...] = (1600, 2000, 2400)
    """Rows of the hard pool by round; none for no expansion."""
    quota: bool = True
    refine: bool = True
    hard_set: str = "mfd"
    mode: str = "sample"
    delta: float = 2.0
    raw: bool = False
    """Train on the raw data alone."""
    new_answers: bool = False
    """Let the teacher answer the raw data again."""


M = Row()
END = M.pools[-1:]
ROWS = {
    "M": M,
    "raw": replace(M, raw=True),
    "raw, new answers": replace(M, raw=True, new_answers=True),
    "S": replace(M, rounds=1, alpha_start=1.0, pools=END),
    "no MFD": replace(M, hard_set="random"),
    "no curriculum": replace(M, rounds=1, alpha_start=0.5, pools=END),
    "constant alpha": replace(M, alpha_start=0.5, alpha_step=0.0),
    "falling alpha": replace(M, alpha_start=0.7, alpha_step=-0.2),
    "no task": replace(M, quota=False, refine=False),
    "quota only": replace(M, refine=False),
    "refine only": replace(M, quota=False),
    "no expansion": replace(M, pools=()),
    "weights": replace(M, mode="weight"),
    "delta 0": replace(M, delta=0.0),
    "delta 4": replace(M, delta=4.0),
    "no threshold": replace(M, delta=-10.0),
    "delta 1": replace(M, delta=1.0),
    "delta 3": replace(M, delta=3.0),
    "2 rounds": replace(M, rounds=2, alpha_step=0.4, pools=(1600, 2400)),
    "4 rounds": replace(M, rounds=4, alpha_start=0.2, pools=(1600, 2000, 2200, 2400)),
}


class Trained(Callback, CurriculumObserver):
    """Adds up what the stages trained on."""

    def __init__(self) -> None:
        self.tokens, self.rows = 0, 0
        self.shares: list[float] = []
        self.levels: list[float] = []

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        store, rows = trainer.datamodule.train_store, report.plan.indices  # type: ignore[attr-defined]
        self.tokens += int(store.lengths(CONDITIONED)[rows].sum())
        self.rows += len(rows)
        self.shares.append(report.plan.scalars.get("hard_share", 0.0))
        self.levels.append(float(np.mean([true_level(store[int(i)]) for i in rows])))


def fit(
    given: argparse.Namespace, seed: int, policy: CurriculumPolicy, stages: int, lr: float,
    start: dict[str, Any] | None, rounds: list[Callback],
) -> tuple[CausalLMModule, Trained, dict[str, dict[str, float]]]:  # fmt: skip
    """One run; the model, what it trained on, and its accuracy by ability."""
    module = CausalLMModule(
        config=MODEL, loss_reduction="token", init_seed=seed,
        optimizer=partial(torch.optim.AdamW, lr=lr, betas=(0.9, 0.98), weight_decay=0.01),
        lr_schedule=partial(WarmupCosine, warmup_fraction=0.05),
    )  # fmt: skip
    module.configure_model()
    if start is not None:
        module.load_state_dict(start)
    data = AbilityDataModule(
        num_train=given.num_raw, num_val_per_ability=given.num_val, data_seed=seed, cache_dir=str(given.work / "cache")
    )
    monitor, trained = AbilityMonitor(), Trained()
    metrics = {} if start is None else {"mfd": ModelFittingDifficulty()}
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=stages, logger=False, enable_checkpointing=False,
        enable_model_summary=False, enable_progress_bar=False, num_sanity_val_steps=0, limit_val_batches=1.0,
        check_val_every_n_epoch=stages, reload_dataloaders_every_n_epochs=1, gradient_clip_val=1.0,
        default_root_dir=str(given.work / "run"),
        callbacks=[*rounds, monitor, trained, CurriculumCallback(policy, metrics, seed=seed)],
    )  # fmt: skip
    trainer.fit(module, data)
    return module, trained, monitor.results


def student(given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The weights of S_0, trained once for each seed."""
    path = given.out / "students" / f"{seed}.pt"
    if not path.exists():
        module, _, _ = fit(given, seed, UniformPolicy(), given.student_stages, 2e-3, None, [])
        with atomic_path(path) as draft, draft.open("wb") as file:
            torch.save(module.state_dict(), file)
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


def cell(given: argparse.Namespace, name: str, seed: int) -> Measures:
    """Train one row of the table."""
    row, start = ROWS[name], student(given, seed)
    shutil.rmtree(given.work / "run", ignore_errors=True)
    policy = TapirPolicy(
        token_budget=given.tokens // row.rounds, alpha_start=row.alpha_start, alpha_step=row.alpha_step,
        delta=row.delta, max_repeat=8, mode=row.mode, hard_set=row.hard_set,  # type: ignore[arg-type]
        targets=TARGETS if row.quota else None, warmup_stages=row.rounds if row.raw else 0,
    )  # fmt: skip
    rounds = TapirRounds(
        ProceduralJudge(), ProceduralTeacher(), ProceduralExpander(max_level=4),
        ProceduralRefiner() if row.refine else None, ProceduralClassifier(),
        raw_answers="teacher" if row.new_answers else "given",
        pool_sizes=[p * given.num_raw // 2000 for p in row.pools], max_new_tokens=12, seed=seed,
    )  # fmt: skip
    _, trained, results = fit(given, seed, policy, row.rounds, 1e-3, start, [rounds])
    accuracy = {a: r["accuracy"] for a, r in results.items() if a in TARGETS}
    return {
        "accuracy": float(np.mean(list(accuracy.values()))),
        "accuracy by target": sum(TARGETS[a] * v for a, v in accuracy.items()),
        "hard share": float(np.mean(trained.shares)),
        "level in the first stage": trained.levels[0],
        "level in the last stage": trained.levels[-1],
        "tokens trained": float(trained.tokens),
        "rows trained": float(trained.rows),
        "role calls": float(sum(role["calls"] for role in rounds.roles.costs.by_role.values())),
        **{f"accuracy/{a}": v for a, v in accuracy.items()},
    }


def main() -> None:
    """Run the cells that are missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/tapir_ablation"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--num_raw", type=int, default=2000, help="raw rows")
    parser.add_argument("--num_val", type=int, default=100, help="validation items of each ability")
    parser.add_argument("--student_stages", type=int, default=12, help="epochs over the raw rows that make S_0")
    parser.add_argument("--tokens", type=int, default=80_000, help="tokens trained on after S_0")
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="two seeds, four rows, little data")
    parser.add_argument("--all", action="store_true", help="all variants, not only the main ones")
    parser.add_argument("--table", action="store_true", help="only write the table of what is finished")
    given = parser.parse_args()
    names = list(ROWS if given.all else CORE)
    if given.quick:
        given.seeds, given.num_raw, given.num_val, given.student_stages, given.tokens = 2, 400, 5, 2, 4800
        names = ["M", "raw", "S", "raw, new answers"]
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    config = {
        "rows": {n: asdict(row) for n, row in ROWS.items()}, "num_raw": given.num_raw,
        "num_val": given.num_val, "student_stages": given.student_stages, "tokens": given.tokens,
        "targets": TARGETS, "model": MODEL,
    }  # fmt: skip
    log = CellLog(given.out / "cells.jsonl", config)
    with tempfile.TemporaryDirectory() as folder:
        given.work = Path(folder)
        if not given.table:
            log.run(names, range(given.seeds), partial(cell, given), given.shard, given.shards)
    log.read()
    if given.shards > 1:
        return
    units = UNITS | {f"accuracy/{a}": "share" for a in TARGETS}
    rows = compare(log.found, names, "M", units)
    write_results(given.out, rows, {**config, "seeds": given.seeds})
    shutil.rmtree(given.out / "students", ignore_errors=True)
    print_rows([r for r in rows if str(r["name"]).endswith((": accuracy", ": accuracy by target"))])


if __name__ == "__main__":
    main()
