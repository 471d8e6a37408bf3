"""Scalars, charts and lines that an ability growth tracker logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from lightning.pytorch import Trainer

from lit_curriculum.callbacks.loggers import add_layout, log_figure, log_rows
from lit_curriculum.methods.doit.study.records import GrowthRecord, overall
from lit_curriculum.utils.jsonl_log import JsonlLog

_OF_POLICY = ("marginal_gain", "slope")
_Z = 1.96


def record_scalars(records: Sequence[GrowthRecord]) -> dict[str, float]:
    """Scalars of the records of one validation: scores by ability, plain means, and rows trained on."""
    logged: dict[str, float] = {}
    for r in records:
        tag = f"growth/{r.split}/{r.ability}"
        logged |= {f"{tag}/score": r.score, f"{tag}/nll": r.nll}
        if np.isfinite(r.chance_sum):
            logged |= {f"{tag}/chance": r.chance, f"{tag}/kappa": r.kappa}
        logged |= {f"growth/{r.ability}/n_unique": float(r.n_unique), f"growth/{r.ability}/n_seen": float(r.n_seen)}
    return logged | overall_scalars(records)


def overall_scalars(records: Sequence[GrowthRecord]) -> dict[str, float]:
    """Plain means over abilities: ``growth/{split}/overall_in_domain``, ``overall_ood`` and ``overall_all``."""
    logged = {}
    for split in ("valid", "test"):
        mine = [r for r in records if r.split == split]
        for name, group in (("in_domain", "in_domain"), ("ood", "ood"), ("all", None)):
            value = overall(mine, group)
            if np.isfinite(value):
                logged[f"growth/{split}/overall_{name}"] = value
    return logged


def policy_scalars(scalars: Mapping[str, float]) -> dict[str, float]:
    """Scalars of a policy that refits growth curves: ``growth/{ability}/slope``, its 95 % bounds, ``marginal_gain``.

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


def write_layout(trainer: Trainer, abilities: Sequence[str], split: str) -> None:
    """Lay out one chart of all abilities, and one for each: its score and the level of guessing."""
    charts = {"all abilities": ("Multiline", [f"growth/{split}/.*/score"])}
    charts |= {a: ("Multiline", [f"growth/{split}/{a}/score", f"growth/{split}/{a}/chance"]) for a in abilities}
    add_layout(trainer, {"growth": charts})


def log_mixture(trainer: Trainer, shares: Sequence[Mapping[str, float]]) -> None:
    """Log the ability shares of all stages so far as a stacked area and as a table, under ``growth/mixture``."""
    from lit_curriculum.report.figures import mixture_figure  # sets matplotlib's backend

    stage = len(shares) - 1
    log_figure(trainer, "growth/mixture", partial(mixture_figure, shares), stage)
    log_rows(trainer, "growth/mixture", *mixture_rows(shares), stage)


def mixture_rows(shares: Sequence[Mapping[str, float]]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a table with the share of each ability in each stage."""
    names = sorted({ability for stage in shares for ability in stage})
    rows = [[str(k), *(f"{stage.get(name, 0.0):.3f}" for name in names)] for k, stage in enumerate(shares)]
    return ["stage", *names], rows


def append_records(path: Path, records: Sequence[GrowthRecord]) -> None:
    """Append records to a JSON Lines file; those that a resumed run makes again are there already."""
    names = ("epoch", "step", "ability", "split", "score", "nll", "n_unique", "n_seen", "outcomes")
    log = JsonlLog(path, lambda row: (tuple(row[name] for name in names[:4]), None), "growth record")
    new = [r for r in records if (r.epoch, r.step, r.ability, r.split) not in log.entries]
    log.append([{name: getattr(r, name) for name in names} for r in new])
