"""Growth of every ability: what was trained on, what is answered, at every validation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from typing_extensions import override

from lit_curriculum.callbacks.seen_rows import NO_ABILITY, Seen, SeenRows
from lit_curriculum.difficulty.words import check_choice
from lit_curriculum.evaluation.measured import COLUMNS, Measured, declared_splits, sample_items, split_items
from lit_curriculum.loop.checks import curriculum_data, step_outputs, validation_store
from lit_curriculum.loop.hooks import CurriculumObserver
from lit_curriculum.loop.planner import StageReport
from lit_curriculum.methods.doit import tracker_log as growth_log
from lit_curriculum.methods.doit.study.records import GrowthRecord
from lit_curriculum.methods.doit.study.study import AnswerMode
from lit_curriculum.methods.doit.validation_answers import (
    check_generative,
    check_parsers,
    exact_matches,
    items_of,
    longest_answer,
)
from lit_curriculum.types import ExampleStore, FloatArray, Plan

_OWNER = "AbilityGrowthTracker"
UNIQUE_PREFIX = "n_unique/"


class AbilityGrowthTracker(Callback, CurriculumObserver):
    """Makes growth records at validations, and logs them under ``growth/``.

    Logs ``growth/{split}/{ability}/score``, ``chance``, ``kappa`` and ``nll``, the plain means
    ``growth/{split}/overall_in_domain``, ``overall_ood`` and ``overall_all``, ``growth/{ability}/n_unique``, ``n_seen``
    and ``p_mix`` (share of the stage), and what a policy that refits curves says: ``marginal_gain``, ``slope``,
    ``slope_lo`` and ``slope_hi``, the last three by stage. TensorBoard also gets a figure and a table
    ``growth/mixture``, a page of custom scalars, and the run's options with its last means as hyperparameters. Rank
    zero appends every record to ``growth.jsonl`` in the run's folder. The items of the validation data are split by
    ``split`` in their ``meta``, else by turns within an ability, into ``valid``, which checkpoints are chosen on, and
    ``test``. The module's ``validation_step`` returns ``index``, ``nll_sum``, ``num_scored`` and ``exact``, each [B];
    an item's chance stands as ``chance`` in its ``meta``. The sanity check is left out.

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
            ranked by perplexity (see :func:`~lit_curriculum.evaluation.tasks.from_examples.example_item`).
        parsers: Ability -> parser of its generated answers; ``whole`` where it is not named.
        max_new_tokens: Tokens of a generated answer at most; by default twice those of the longest right answer.

    Attributes:
        history: All records so far; kept in checkpoints.

    Raises:
        ValueError: an option is out of range.
    """

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
        for name, value in (("every", every), ("max_items", max_items), ("max_new_tokens", max_new_tokens)):
            if value is not None and value < 1:
                raise ValueError(f"{_OWNER}.{name} must be at least 1, got {value}.")
        check_parsers(parsers or {})
        self.ood = list(ood or [])
        self.cell, self.arm, self.size, self.params, self.seed, self.rung = cell, arm, size, params, seed, rung
        self.valid, self.every, self.max_items = valid, every, max_items
        self.answers: AnswerMode = answers
        self.parsers, self.max_new_tokens = dict(parsers or {}), max_new_tokens
        self.history: list[GrowthRecord] = []
        self._seen = SeenRows()
        self._unique: dict[str, int] = {}
        self._shares: list[dict[str, float]] = []
        self._rows: list[Tensor] = []

    # -- what is trained on ------------------------------------------------------------------------------------

    @override
    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        store = curriculum_data(trainer).train_store
        self._unique = _unique(report.plan, store)
        names, counts = np.unique([store.abilities[int(i)] or NO_ABILITY for i in report.plan.indices],
                                  return_counts=True)  # fmt: skip
        shares = {str(n): float(c) / len(report.plan) for n, c in zip(names, counts, strict=True)}
        self._shares = [*self._shares[: report.stage], shares]
        mixed = {f"growth/{a}/p_mix": share for a, share in shares.items()}
        growth_log.log_scalars(trainer, mixed, trainer.global_step)
        growth_log.log_scalars(trainer, growth_log.policy_scalars(report.plan.scalars), report.stage)

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
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rows = []

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.sanity_checking:
            found = step_outputs(outputs, COLUMNS, "validation_step", self, pl_module)
            self._rows.append(torch.stack([found[k].detach().cpu().double() for k in COLUMNS]))

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not self._due(trainer):
            return
        store = validation_store(trainer, self)
        rows = _of_all_ranks(torch.cat([torch.zeros(len(COLUMNS), 0), *self._rows], dim=1).numpy(), trainer)
        names = [a or NO_ABILITY for a in store.abilities]
        measured = Measured.from_rows(rows, sample_items(names, store.content_hashes, self.max_items))
        chances = [float(store[int(i)].meta.get("chance", np.nan)) for i in measured.index]
        if self.answers == "generated":
            items = items_of(store, measured.index, self.parsers)
            limit = self.max_new_tokens or 2 * longest_answer(store, measured.index)
            places, right = exact_matches(trainer, pl_module, items, limit)
            judged = _of_all_ranks(np.stack([places, right]).astype(np.float64), trainer)
            measured.right[judged[0].astype(np.int64)] = judged[1] > 0
            chances = [item.chance for item in items]
        new = self._records(trainer, store, measured, np.array(chances))
        if not self.history:
            growth_log.write_layout(trainer, list(dict.fromkeys(r.ability for r in new)), "test")
        self.history += new
        growth_log.log_scalars(trainer, growth_log.record_scalars(new), trainer.global_step)
        if self._shares:
            growth_log.write_mixture(trainer, self._shares)
        folder = trainer.log_dir  # all ranks have to ask: it is broadcast
        if trainer.is_global_zero and folder is not None:
            growth_log.append_records(Path(folder) / "growth.jsonl", new)

    def _due(self, trainer: Trainer) -> bool:
        epoch = trainer.current_epoch + 1
        fits = trainer.state.fn == TrainerFn.FITTING
        return not fits or epoch % self.every == 0 or epoch == trainer.max_epochs

    def _records(self, trainer: Trainer, store: ExampleStore, of: Measured, chances: FloatArray) -> list[GrowthRecord]:
        names = np.array([store.abilities[int(i)] or NO_ABILITY for i in of.index])
        seen, told = self._seen.counts(), declared_splits(store, of.index)
        records = []
        for ability in dict.fromkeys(names.tolist()):
            for split, items in split_items(np.flatnonzero(names == ability), self.valid, told):
                rows, tokens = seen.get(ability, Seen(0, 0))
                right = of.right[items]
                records.append(
                    GrowthRecord(
                        cell=self.cell, arm=self.arm, size=self.size, params=self.params, seed=self.seed,
                        rung=self.rung, ability=ability, group="ood" if ability in self.ood else "in_domain",
                        split=split, epoch=trainer.current_epoch + 1, step=trainer.global_step,
                        n_unique=self._unique.get(ability, 0), n_seen=rows, tokens_seen=tokens,
                        correct=int(right.sum()), total=len(items), chance_sum=float(chances[items].sum()),
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
            options: dict[str, str | float] = {
                "arm": self.arm, "size": self.size, "seed": self.seed, "total": sum(self._unique.values()),
                "plan": self.cell,
            }  # fmt: skip
            growth_log.write_hparams(trainer, options, growth_log.overall_scalars(last))

    @override
    def state_dict(self) -> dict[str, Any]:
        history = [{name: getattr(r, name) for name in GrowthRecord.__slots__} for r in self.history]
        told = {"unique": self._unique, "shares": self._shares}
        return {"history": history, "seen": self._seen.state_dict(), **told}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = [GrowthRecord(**{**row, "item_nll": tuple(row["item_nll"])}) for row in state_dict["history"]]
        self._seen.load_state_dict(state_dict["seen"])
        self._unique, self._shares = dict(state_dict["unique"]), list(state_dict["shares"])


def _unique(plan: Plan, train: ExampleStore) -> dict[str, int]:
    """Different rows of each ability that the run draws on: the policy's count, else those of the plan."""
    told = {k.removeprefix(UNIQUE_PREFIX): int(v) for k, v in plan.scalars.items() if k.startswith(UNIQUE_PREFIX)}
    if told:
        return told
    rows = np.unique(plan.indices)
    names, counts = np.unique([train.abilities[int(i)] or NO_ABILITY for i in rows], return_counts=True)
    return {str(n): int(c) for n, c in zip(names, counts, strict=True)}


def _of_all_ranks(rows: FloatArray, trainer: Trainer) -> FloatArray:
    """[K, items] of all ranks one behind the other; ranks may hold different numbers."""
    if trainer.world_size == 1:
        return rows
    parts: list[Any] = [None] * trainer.world_size
    dist.all_gather_object(parts, rows)
    return np.concatenate(parts, axis=1)
