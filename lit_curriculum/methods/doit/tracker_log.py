"""Growth in TensorBoard and other loggers: the tags that a run writes while it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from lit_curriculum.callbacks.loggers import add_layout
from lit_curriculum.methods.doit.study.records import GrowthRecord, overall
from lit_curriculum.utils.jsonl_log import JsonlLog

_OF_POLICY = ("marginal_gain", "slope")
_Z = 1.96


def record_scalars(records: Sequence[GrowthRecord]) -> dict[str, float]:
    """``growth/{split}/{ability}/...`` of one validation, the plain means, and what was trained on of each ability."""
    logged: dict[str, float] = {}
    for r in records:
        tag = f"growth/{r.split}/{r.ability}"
        logged |= {f"{tag}/score": r.score, f"{tag}/nll": r.nll}
        if np.isfinite(r.chance_sum):
            logged |= {f"{tag}/chance": r.chance, f"{tag}/kappa": r.kappa}
        logged |= {f"growth/{r.ability}/n_unique": float(r.n_unique), f"growth/{r.ability}/n_seen": float(r.n_seen)}
    return logged | overall_scalars(records)


def overall_scalars(records: Sequence[GrowthRecord]) -> dict[str, float]:
    """``growth/{split}/overall_in_domain``, ``overall_ood`` and ``overall_all``, where there are such abilities."""
    logged = {}
    for split in ("valid", "test"):
        mine = [r for r in records if r.split == split]
        for name, group in (("in_domain", "in_domain"), ("ood", "ood"), ("all", None)):
            value = overall(mine, group)
            if np.isfinite(value):
                logged[f"growth/{split}/overall_{name}"] = value
    return logged


def policy_scalars(scalars: Mapping[str, float]) -> dict[str, float]:
    """``growth/{ability}/slope`` with its 95 % bounds and ``marginal_gain``, where the policy refits curves.

    Args:
        scalars: What the policy reports of a plan: ``slope/{ability}``, ``slope_se/{ability}`` and so on.
    """
    logged = {}
    for name, value in scalars.items():
        kind, _, ability = name.partition("/")
        if not ability or kind not in _OF_POLICY:
            continue
        logged[f"growth/{ability}/{kind}"] = value
        error = scalars.get(f"slope_se/{ability}")
        if kind == "slope" and error is not None:
            logged[f"growth/{ability}/slope_lo"] = value - _Z * error
            logged[f"growth/{ability}/slope_hi"] = value + _Z * error
    return logged


def log_scalars(trainer: Trainer, scalars: dict[str, float], step: int) -> None:
    """To every logger."""
    for logger in trainer.loggers:
        logger.log_metrics(scalars, step=step)


def tensorboard_writers(trainer: Trainer) -> list[Any]:
    """The writers of the TensorBoard loggers, on rank zero."""
    if not trainer.is_global_zero:
        return []
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def write_layout(trainer: Trainer, abilities: Sequence[str], split: str) -> None:
    """Custom scalars with a chart of all abilities, and one for each: its score and the level of guessing."""
    charts = {"all abilities": ("Multiline", [f"growth/{split}/.*/score"])}
    charts |= {a: ("Multiline", [f"growth/{split}/{a}/score", f"growth/{split}/{a}/chance"]) for a in abilities}
    add_layout(trainer, {"growth": charts})


def write_mixture(trainer: Trainer, shares: Sequence[Mapping[str, float]]) -> None:
    """``growth/mixture``: the shares of all stages so far as a stacked area, and as a table; the step is the stage."""
    # Only where there is a TensorBoard to draw for: it sets matplotlib's backend.
    from lit_curriculum.report.figures import mixture_figure

    for writer in tensorboard_writers(trainer):
        writer.add_figure("growth/mixture", mixture_figure(shares), len(shares) - 1)
        writer.add_text("growth/mixture", mixture_table(shares), len(shares) - 1)


def mixture_table(shares: Sequence[Mapping[str, float]]) -> str:
    """Shares of each ability, a line a stage, as a table in Markdown."""
    names = sorted({a for stage in shares for a in stage})
    lines = ["| stage | " + " | ".join(names) + " |", "| ---: |" + " ---: |" * len(names)]
    for number, stage in enumerate(shares):
        lines.append(f"| {number} | " + " | ".join(f"{stage.get(a, 0.0):.3f}" for a in names) + " |")
    return "\n".join(lines) + "\n"


def write_hparams(trainer: Trainer, options: dict[str, str | float], results: dict[str, float]) -> None:
    """What the run was and what it reached, for TensorBoard's table of runs."""
    if not trainer.is_global_zero:
        return
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(options, results, step=trainer.global_step)


def append_records(path: Path, records: Sequence[GrowthRecord]) -> None:
    """Append records to a JSON Lines file; those that a resumed run makes again are there already."""
    names = ("epoch", "step", "ability", "split", "score", "nll", "n_unique", "n_seen", "outcomes")
    log = JsonlLog(path, lambda row: (tuple(row[name] for name in names[:4]), None), "growth record")
    new = [r for r in records if (r.epoch, r.step, r.ability, r.split) not in log.entries]
    log.append([{name: getattr(r, name) for name in names} for r in new])
