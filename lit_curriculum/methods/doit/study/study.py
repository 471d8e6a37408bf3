"""A growth study: its options, the mixtures of its cells, and a resumable runner for one machine or many."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from lit_curriculum.curriculum.quotas import SYNTHETIC, SelectMode, check_counts, recipe_counts
from lit_curriculum.methods.doit.study.growth_records import (
    ALONE,
    BASE,
    WITHOUT,
    GrowthRecord,
    read_records,
    select_checkpoints,
    write_records,
)

AnswerMode = Literal["teacher_forced", "generated"]
Match = Literal["epochs", "updates", "tokens"]
PAPER_LADDER = (1, 4, 16, 64, 256, 1000)
"""Rows of each ability, rung by rung: steps of four, the last cut to what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One model of a study."""

    params: float
    """Number of parameters, or any number that is proportional to it."""
    args: Sequence[str] = ()
    """Options of ``lit-curriculum fit`` that make the model this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthStudy:
    """All options of a study, as in its yaml."""

    configs: Sequence[str]
    """Layers of ``lit-curriculum fit``, relative to the study's file."""
    abilities: Mapping[str, int]
    """Ability -> rows that there are to train on."""
    args: Sequence[str] = ()
    """More options of ``lit-curriculum fit``, for all cells."""
    ood: Sequence[str] = ()
    """Abilities that are evaluated and not trained on."""
    arms: Sequence[str] = ("curated",)
    """``curated``: the same rows of each ability; ``synthetic``: the same totals of the pooled ability synthetic;
    ``alone``: each ability alone at every rung, ``without``: all but one at the highest rung, for each one, and
    ``base``: the model before training, all three for transfer; else a recipe such as ``reconstruct``."""
    sizes: Mapping[str, Size] = field(default_factory=lambda: {"base": Size(params=1.0)})
    seeds: Sequence[int] = (0,)
    rungs: Sequence[int] = PAPER_LADDER
    select: SelectMode = "nested"
    match: Match = "epochs"
    epochs: int = 15
    """Checkpoints of a cell; under ``match: epochs`` also passes over its rows."""
    updates: int | None = None
    """Optimizer steps of a cell under ``match: updates``."""
    tokens: int | None = None
    """Tokens of a cell under ``match: tokens``."""
    batch_size: int = 64
    min_epoch: int = 5
    select_by: str = "score"
    """``score`` or ``nll``: what picks the checkpoint on validation, and what the curves are of."""
    delta: float = 0.02
    """Smallest slope per quadrupling that counts."""
    answers: AnswerMode = "teacher_forced"
    """What counts as right; see :class:`~lit_curriculum.AbilityGrowthTracker`."""
    parsers: Mapping[str, str] = field(default_factory=dict)
    """Ability -> parser of its generated answers."""
    max_new_tokens: int | None = None
    """Tokens of a generated answer at most."""
    max_items: int | None = None
    """Items of each ability at most."""
    data_seed_option: str | None = None
    """Option that takes the cell's seed as well, such as ``data.data_seed``."""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("select", self.select, get_args(SelectMode)),
            ("match", self.match, get_args(Match)),
            ("answers", self.answers, get_args(AnswerMode)),
        ):
            if value not in known:
                raise ValueError(f"study.{name} must be one of {', '.join(known)}, got {value!r}.")
        for name in ("updates", "tokens"):
            if self.match == name and getattr(self, name) is None:
                raise ValueError(f"study.match={name} needs study.{name}, the number of {name} of every cell; set it.")
        if self.updates is not None and self.updates % self.epochs:
            raise ValueError(f"study.updates={self.updates} is no multiple of study.epochs={self.epochs}; make it one.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixturePlan:
    """How many rows of each ability one cell trains on, and how they are chosen."""

    counts: Mapping[str, int]
    select: SelectMode = "nested"
    seed: int = 0

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits over counts, mode and seed; the listing order changes nothing."""
        text = json.dumps([sorted(self.counts.items()), self.select, self.seed])
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthCell:
    """One training run of a study."""

    arm: str
    size: str
    params: float
    rung: int
    seed: int
    plan: MixturePlan

    @property
    def id(self) -> str:
        """Name of the cell; it changes with what is trained on."""
        return f"{self.arm.replace(':', '-')}-{self.size}-n{self.rung}-s{self.seed}-{self.plan.hash}"


def load_study(path: Path) -> GrowthStudy:
    """Read a study's yaml.

    Raises:
        ValueError: an option is unknown, missing or out of range.
    """
    options: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    known = {f.name for f in dataclasses.fields(GrowthStudy)}
    unknown = sorted(set(options) - known)
    if unknown:
        raise ValueError(f"{path.name}: option {unknown[0]!r} is not accepted; there are {', '.join(sorted(known))}.")
    for name in ("configs", "abilities"):
        if name not in options:
            raise ValueError(f"{path.name}: option {name!r} is missing; give it.")
    if "sizes" in options:
        options["sizes"] = {k: Size(**v) for k, v in options["sizes"].items()}
    options["configs"] = [str((path.parent / c).resolve()) for c in options["configs"]]
    return GrowthStudy(**options)


def cells(study: GrowthStudy) -> list[GrowthCell]:
    """All cells, in an order that depends on the yaml alone: smallest rungs of all seeds first."""
    available = {a: n for a, n in study.abilities.items() if a not in study.ood}
    found = []
    for seed in study.seeds:
        for arm in study.arms:
            plans = _plans(study, available, arm, seed)
            for name, size in study.sizes.items():
                for arm_name, rung, plan in plans:
                    found.append(
                        GrowthCell(arm=arm_name, size=name, params=size.params, rung=rung, seed=seed, plan=plan)
                    )  # fmt: skip
    return found


def _plans(study: GrowthStudy, available: Mapping[str, int], arm: str, seed: int) -> list[tuple[str, int, MixturePlan]]:
    """Name of the arm, rung and plan of each of its cells."""
    trained = {a: n for a, n in available.items() if a != SYNTHETIC}
    if arm in ("curated", "synthetic"):
        plans = ladder(available, study.rungs, study.select, seed, pooled=arm == "synthetic")
        return [(arm, n, plan) for n, plan in zip(study.rungs, plans, strict=True)]
    if arm == "alone":
        alone = [(a, ladder({a: n}, study.rungs, study.select, seed)) for a, n in trained.items()]
        return [(ALONE + a, n, p) for a, plans in alone for n, p in zip(study.rungs, plans, strict=True)]
    if arm == "without":
        top = max(study.rungs)
        others = [(a, {b: n for b, n in trained.items() if b != a}) for a in trained]
        return [(WITHOUT + a, top, ladder(rest, [top], study.select, seed)[0]) for a, rest in others]
    if arm == BASE:
        return [(BASE, 0, MixturePlan(counts={}, select=study.select, seed=seed))]
    # Rows of a recipe are the first of each file, as the paper takes them.
    return [(arm, 0, MixturePlan(counts=recipe_counts(arm, available), select="prefix", seed=seed))]


def ladder(
    available: Mapping[str, int],
    rungs: Sequence[int] = PAPER_LADDER,
    select: SelectMode = "nested",
    seed: int = 0,
    pooled: bool = False,
) -> list[MixturePlan]:
    """Mixtures of each rung.

    Args:
        available: Ability -> rows that there are to train on.
        rungs: Rows of each ability.
        select: How rows are chosen.
        seed: Of the choice.
        pooled: Draw the same totals from the pooled ability ``synthetic`` in place of the abilities one by one.

    Raises:
        ValueError: an ability has fewer rows than a rung asks for.
    """
    keys = sorted(set(available) - {SYNTHETIC})
    plans = []
    for n in rungs:
        counts = {SYNTHETIC: n * len(keys)} if pooled else dict.fromkeys(keys, n)
        check_counts(counts, available)
        plans.append(MixturePlan(counts=counts, select=select, seed=seed))
    return plans


def stage_size(study: GrowthStudy) -> tuple[int | None, int | None]:
    """Rows and tokens of one stage of every cell, each none where it does not decide."""
    if study.match == "updates":
        assert study.updates is not None
        return study.updates // study.epochs * study.batch_size, None
    if study.match == "tokens":
        assert study.tokens is not None
        return None, max(1, study.tokens // study.epochs)
    return None, None


def run_study(
    study: GrowthStudy,
    out: Path,
    train: Callable[[GrowthCell], Sequence[GrowthRecord]],
    only: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[GrowthRecord]:
    """Train every cell that has no file yet, and merge what there is.

    Args:
        study: The study.
        out: Folder; ``cells/<cell>.jsonl`` for each cell and ``records.jsonl`` for all together.
        train: Trains a cell and gives its records of all checkpoints.
        only: Train the cell of this number alone, for array jobs.
        progress: Called with (cells trained, cells to train) before the first and after each.

    Returns:
        The records of all cells that are done.

    Raises:
        ValueError: there is no cell of that number.
    """
    todo = cells(study)
    if only is not None and not 0 <= only < len(todo):
        raise ValueError(f"--cell {only} is outside the study's cells, 0 to {len(todo) - 1}.")
    wanted = todo if only is None else todo[only : only + 1]
    missing = [cell for cell in wanted if not _records_of(out, cell).exists()]
    for number, cell in enumerate(missing):
        if progress is not None:
            progress(number, len(missing))
        if not _records_of(out, cell).exists():  # another process may share the work
            write_records(_records_of(out, cell), _selected(study, cell, train(cell)))
    if progress is not None and missing:
        progress(len(missing), len(missing))
    return merge(study, out)


def _records_of(out: Path, cell: GrowthCell) -> Path:
    return out / "cells" / f"{cell.id}.jsonl"


def _selected(study: GrowthStudy, cell: GrowthCell, records: Sequence[GrowthRecord]) -> list[GrowthRecord]:
    """The records with their checkpoint chosen; the only one where there is one a cell."""
    if study.epochs == 1 or cell.arm == BASE:
        return [dataclasses.replace(r, selected=True) for r in records]
    return select_checkpoints(records, study.min_epoch, study.select_by)


def merge(study: GrowthStudy, out: Path) -> list[GrowthRecord]:
    """The records of all finished cells, written to ``records.jsonl`` too."""
    records = []
    for cell in cells(study):
        if _records_of(out, cell).exists():
            records += read_records(_records_of(out, cell))
    write_records(out / "records.jsonl", records)
    return records
