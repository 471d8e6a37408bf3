"""Growth of abilities measured while a model trains: records, log lines and TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray
from typing_extensions import override

from lit_curriculum.callbacks.ability_monitor import AbilityMeter, Outcomes
from lit_curriculum.callbacks.loggers import Options, add_layout, log_figure, log_final_values, log_rows, log_scalars
from lit_curriculum.loop.checks import CurriculumData, curriculum_data, validation_store
from lit_curriculum.loop.hooks import CurriculumObserver
from lit_curriculum.loop.planner import StageReport
from lit_curriculum.methods.doit.study.growth_records import GrowthRecord, overall
from lit_curriculum.methods.doit.study.study import AnswerMode
from lit_curriculum.methods.doit.validation_items import (
    check_generative,
    check_parsers,
    declared_splits,
    exact_matches,
    items_of,
    longest_answer,
    sample_items,
    split_items,
)
from lit_curriculum.types import CONDITIONED, ExampleStore, IntArray, ability_names
from lit_curriculum.utils.jsonl_log import JsonlLog
from lit_curriculum.utils.options import check_choice, check_range

_OF_POLICY = ("marginal_gain", "slope")
_Z = 1.96
_OWNER = "AbilityGrowthTracker"
UNIQUE_PREFIX = "n_unique/"


class AbilityGrowthTracker(AbilityMeter, CurriculumObserver):
    """Makes growth records at validations, and logs them under ``growth/``.

    Logs ``growth/{split}/{ability}/score``, ``chance``, ``kappa`` and ``nll``, the plain means
    ``growth/{split}/overall_in_domain``, ``overall_ood`` and ``overall_all``, ``growth/{ability}/n_unique``, ``n_seen``
    and ``p_mix`` (share of the stage), and what a policy that refits curves says: ``marginal_gain``, ``slope``,
    ``slope_lo`` and ``slope_hi``, the last three by stage. TensorBoard also gets a figure and a table
    ``growth/mixture``, a page of custom scalars, and the run's options with its last means as hyperparameters. Rank
    zero appends every record to ``growth.jsonl`` in the run's folder. The items of the validation data are split by
    ``split`` in their ``meta``, else by turns within an ability, into ``valid``, which checkpoints are chosen on, and
    ``test``. See :class:`~lit_curriculum.callbacks.ability_monitor.AbilityMeter` for what module and data must offer.

    Args:
        ood: Abilities that are not trained on.
        cell: Name of the run in a study.
        arm: How its data were made.
        size: Name of the model.
        params: Parameters of the model.
        seed: Seed of the run.
        rung: Rows of each ability that the run's rung names.
        valid: Split the items; otherwise all are ``test``, where no checkpoint has to be chosen.
        every: Record at the validations of every so many epochs, and of the last.
        max_items: Items of each ability at most, chosen by content hash; all by default.
        answers: What counts as right: ``teacher_forced``, each token of the right answer is the likeliest given the
            right ones before it; ``generated``, a greedy answer is read by a parser, and items with ``choices`` are
            ranked by perplexity (see :func:`~lit_curriculum.evaluation.items.example_item`).
        parsers: Ability -> parser of its generated answers; ``whole`` where it is not named.
        max_new_tokens: Tokens of a generated answer at most; by default twice those of the longest right answer.

    Attributes:
        history: All records so far; kept in checkpoints.

    Raises:
        ValueError: an option is out of range.
    """

    logs_final_values = True

    def __init__(
        self,
        ood: list[str] | None = None,
        cell: str = "run",
        arm: str = "curated",
        size: str = "base",
        params: float = 1.0,
        seed: int = 0,
        rung: int = 0,
        valid: bool = True,
        every: int = 1,
        max_items: int | None = None,
        answers: AnswerMode = "teacher_forced",
        parsers: dict[str, str] | None = None,
        max_new_tokens: int | None = None,
    ) -> None:
        check_choice(f"{_OWNER}.answers", answers, get_args(AnswerMode))
        check_range(_OWNER, "[1, inf)", every=every, max_items=max_items, max_new_tokens=max_new_tokens)
        check_parsers(parsers or {})
        super().__init__()
        self.ood = list(ood or [])
        self.cell, self.arm, self.size, self.params, self.seed, self.rung = cell, arm, size, params, seed, rung
        self.valid, self.every, self.max_items = valid, every, max_items
        self.answers: AnswerMode = answers
        self.parsers, self.max_new_tokens = dict(parsers or {}), max_new_tokens
        self.history: list[GrowthRecord] = []
        self._seen = SeenRows()
        self._unique: dict[str, int] = {}
        self._shares: list[dict[str, float]] = []

    # -- what is trained on ------------------------------------------------------------------------------------

    @override
    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        store = curriculum_data(trainer).train_store
        self._unique = _unique(report, store)
        self._shares = [*self._shares[: report.stage], report.ability_shares]
        mixed = {f"growth/{a}/p_mix": share for a, share in report.ability_shares.items()}
        log_scalars(trainer, mixed)
        log_scalars(trainer, policy_scalars(report.plan.scalars), report.stage)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._seen.note(curriculum_data(trainer), trainer.current_epoch, batch_idx)

    # -- what is answered --------------------------------------------------------------------------------------

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.answers == "generated" and stage == "fit":
            check_generative(trainer, pl_module)

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not self._due(trainer):
            return
        store = validation_store(trainer, self)
        outcomes = self.outcomes(trainer)
        if self.max_items is not None:
            outcomes = outcomes.only(sample_items(store, self.max_items))
        if self.answers == "generated":
            items = items_of(store, outcomes.index, self.parsers)
            limit = self.max_new_tokens or 2 * longest_answer(store, outcomes.index)
            right = exact_matches(trainer, pl_module, items, limit)
            outcomes = replace(outcomes, right=right, chance=np.array([item.chance for item in items]))
        new = self._records(trainer, outcomes, declared_splits(store, outcomes.index))
        if not self.history:
            write_layout(trainer, list(dict.fromkeys(r.ability for r in new)), "test")
        self.history += new
        log_scalars(trainer, record_scalars(new))
        if self._shares:
            log_mixture(trainer, self._shares)
        folder = trainer.log_dir  # all ranks have to ask: it is broadcast
        if trainer.is_global_zero and folder is not None:
            append_records(Path(folder) / "growth.jsonl", new)

    def _due(self, trainer: Trainer) -> bool:
        epoch = trainer.current_epoch + 1
        fits = trainer.state.fn == TrainerFn.FITTING
        return not fits or epoch % self.every == 0 or epoch == trainer.max_epochs

    def _records(self, trainer: Trainer, of: Outcomes, splits: Sequence[str] | None) -> list[GrowthRecord]:
        seen = self._seen.counts()
        records = []
        for ability in dict.fromkeys(of.abilities.tolist()):
            for split, items in split_items(np.flatnonzero(of.abilities == ability), self.valid, splits):
                rows, tokens = seen.get(ability, Seen(0, 0))
                right = of.right[items]
                records.append(
                    GrowthRecord(
                        cell=self.cell, arm=self.arm, size=self.size, params=self.params, seed=self.seed,
                        rung=self.rung, ability=ability, group="ood" if ability in self.ood else "in_domain",
                        split=split, epoch=trainer.current_epoch + 1, step=trainer.global_step,
                        n_unique=self._unique.get(ability, 0), n_seen=rows, tokens_seen=tokens,
                        correct=int(right.sum()), total=len(items), chance_sum=float(of.chance[items].sum()),
                        nll=float(of.nll_sum[items].sum() / of.num_scored[items].sum()),
                        outcomes="".join("1" if e else "0" for e in right),
                        item_nll=tuple(round(float(v), 5) for v in of.nll_sum[items] / of.num_scored[items]),
                    )
                )  # fmt: skip
        return records

    # -- the end, and state ------------------------------------------------------------------------------------

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.history:
            last = [r for r in self.history if r.epoch == self.history[-1].epoch]
            options: Options = {
                "arm": self.arm, "size": self.size, "seed": self.seed, "total": sum(self._unique.values()),
                "plan": self.cell,
            }  # fmt: skip
            log_final_values(trainer, options, overall_scalars(last))

    @override
    def state_dict(self) -> dict[str, Any]:
        history = [{name: getattr(r, name) for name in GrowthRecord.__slots__} for r in self.history]
        counts = {"unique": self._unique, "shares": self._shares}
        return {"history": history, "seen": self._seen.state_dict(), **counts}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = [GrowthRecord(**{**row, "item_nll": tuple(row["item_nll"])}) for row in state_dict["history"]]
        self._seen.load_state_dict(state_dict["seen"])
        self._unique, self._shares = dict(state_dict["unique"]), list(state_dict["shares"])


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


def _unique(report: StageReport, store: ExampleStore) -> dict[str, int]:
    """Distinct rows of each ability that the run draws on: the policy's count, else those of the plan."""
    scalars = report.plan.scalars
    found = {k.removeprefix(UNIQUE_PREFIX): int(v) for k, v in scalars.items() if k.startswith(UNIQUE_PREFIX)}
    if found:
        return found
    names, counts = np.unique(ability_names(store, report.distinct), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


class Seen(NamedTuple):
    """What has been trained on of one ability, repeats counted."""

    rows: int
    tokens: int
    """Scored ones."""


class SeenRows:
    """Counts stage by stage, so that batches made again after a resume are not counted twice.

    Every rank knows the whole order, so nothing is gathered. Entries of weight 0 are not trained on.
    """

    def __init__(self) -> None:
        self._stages: dict[int, dict[str, Seen]] = {}
        self._stage: int | None = None
        self._store: ExampleStore | None = None
        self._indices: IntArray = np.empty(0, dtype=np.int64)
        self._weights: NDArray[np.float32] | None = None
        self._position = 0

    def note(self, data: CurriculumData, stage: int, batch_idx: int) -> None:
        """Note that the batch of this number has been trained on."""
        if stage != self._stage:
            self._settle()
            self._stage, self._store = stage, data.train_store
            self._indices, self._weights = data.sampler.order()
        self._position = (batch_idx + 1) * data.sampler.batch_size

    def counts(self) -> dict[str, Seen]:
        """Ability -> what has been seen of it."""
        self._settle()
        found: dict[str, Seen] = {}
        for stage in self._stages.values():
            for ability, seen in stage.items():
                before = found.get(ability, Seen(0, 0))
                found[ability] = Seen(before.rows + seen.rows, before.tokens + seen.tokens)
        return found

    def _settle(self) -> None:
        """Count the part of the stage that has been trained on."""
        if self._stage is None or self._store is None:
            return
        store = self._store
        rows = self._indices[: self._position]
        if self._weights is not None:
            rows = rows[self._weights[: self._position] > 0]
        names = ability_names(store, rows)
        tokens = store.num_scored(CONDITIONED)[rows]
        self._stages[self._stage] = {
            str(a): Seen(int((names == a).sum()), int(tokens[names == a].sum())) for a in np.unique(names)
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        self._settle()
        return {str(stage): {a: list(seen) for a, seen in found.items()} for stage, found in self._stages.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self._stages = {int(s): {a: Seen(*seen) for a, seen in found.items()} for s, found in state.items()}
        self._stage = None
