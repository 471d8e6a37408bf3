"""CAMPUS: a dynamic choice among difficulty schedules by the perplexity of their next band."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any, Literal

import numpy as np
import torch

from lit_curriculum.curriculum.base import OWNER, CurriculumPolicy
from lit_curriculum.curriculum.ordering import content_ranks
from lit_curriculum.curriculum.pacing import cut_bands
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.campus.schedules import (
    BandedRun,
    BandMeasure,
    BandSchedules,
    Choice,
    Clock,
    PacingIndex,
    PerplexityOn,
    Pool,
    RescoreScope,
    Stop,
    choose,
    scopes,
)
from lit_curriculum.types import BoolArray, ExampleStore, IntArray, Plan
from lit_curriculum.utils.options import check_range

RescoreWhich = Literal["chosen", "all_aware", "none"]

_VERSION = 1
_LOSS_OF_ALL_TOKENS = "loss_all"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decision:
    """Inputs and outcome of one choice among schedules; lists have one entry per schedule."""

    stage: int
    chosen: int
    """Number of the schedule whose band is taught."""
    perplexities: list[float]
    """Of the current bands; NaN where none was measured."""
    clocks: list[int]
    """Numbers of the current bands, from 0."""
    round: int
    """How often the clocks have started again."""
    sizes: list[int]
    """Examples in the current bands."""
    sorted_at: list[int]
    """Stages whose model the orders are of."""
    taught: IntArray
    """The examples taught, easiest first."""

    def state_dict(self) -> dict[str, Any]:
        """All fields, plain or as tensors."""
        state = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**state, "taught": torch.from_numpy(self.taught.copy())}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Decision:
        """Restore :meth:`state_dict`."""
        return cls(**{**state, "taught": state["taught"].numpy().copy()})


class CampusPolicy(CurriculumPolicy):
    """Train on the band with the lowest perplexity among several easy-to-hard schedules.

    Each metric sorts all examples from easy to hard (ties by content hash, examples without a score last). A pacing
    function cuts every such schedule into bands. A run ends when its budget is spent: the last band is cut to it,
    easiest first. ``trainer.max_epochs`` is an upper bound on the number of stages, since with clocks per schedule
    that number depends on the choices. When no schedule has a band left, all clocks start again.

    A band's perplexity comes from the losses in the table, so measuring it and re-sorting by loss cost one forward
    pass. Perplexity over all tokens takes a second one, since the loss that sorts is that of the response. A learned
    metric is scored after the losses, too late to measure the band of its new scores. Its schedule is therefore
    re-sorted after the choice and used from the next stage on. Data that grow are refused, because bands and budget
    are planned for a known size.

    Args:
        metrics: Names of the metrics, one schedule each (n = 4 in the paper).
        aware: Those among them that the model in training measures; the others are static.
        learned: Those of class :class:`~lit_curriculum.LearnedMetric`, which score all examples.
        loss: Name of the metric of mean response loss, from which bands' perplexities come.
        ppl_on: Take perplexities over ``response`` tokens or over ``all``, the prompt's included. For ``all`` a metric
            ``loss_all`` of class :class:`~lit_curriculum.ConversationNLL` is needed.
        num_bands: Bands of a schedule (T); null takes the most for which ``trainer.max_epochs`` always suffices.
        initial_scope: Share of the data in the first band (s1).
        power: Progress rate of the scope (p).
        pacing_index: ``literal`` or ``shifted``; see :func:`~lit_curriculum.methods.campus.schedules.scopes`.
        clock: ``per_schedule`` advances the chosen schedule, ``shared`` all of them.
        choice: ``min_ppl`` (the method), or for comparison ``max_ppl``, ``softmax`` of the negative perplexity,
            ``random`` and ``round_robin``, of which the last two measure nothing.
        ppl_pool: Perplexity over all ``tokens`` of a band, or the mean over its ``examples``.
        ppl_count: Number of a band's examples that are measured, spread evenly over its order; null measures all.
        rescore_every: Stages between two re-scorings (K).
        rescore_which: Re-sort the competence-aware schedules that were ``chosen`` since the last re-scoring,
            ``all_aware`` of them, or ``none`` (frozen as before stage 0).
        rescore_scope: Re-score ``all`` examples, or the ``remaining`` ones that the schedule has not taught yet; those
            taught then keep their places.
        exclude_seen: Fill every band with the next examples of its schedule that were not trained on yet.
        shuffle: Train a band in random order; otherwise easiest first.
        stop: Train on the ``budget``, or to ``exhaustion`` of all schedules: n passes, with a shared clock or without
            repeats one.
        budget_passes: Budget in passes over the data.

    Raises:
        ValueError: an option is out of range.

    References:
        Li et al. 2025, "Teaching According to Talents!", arXiv 2509.13790, section 3.
    """

    def __init__(
        self,
        metrics: Sequence[str] = ("length", "mtld", "loss", "scorer"),
        aware: Sequence[str] = ("loss",),
        learned: Sequence[str] = ("scorer",),
        loss: str = "loss",
        num_bands: int | None = None,
        initial_scope: float = 0.01,
        power: float = 2.0,
        pacing_index: PacingIndex = "literal",
        clock: Clock = "per_schedule",
        choice: Choice = "min_ppl",
        ppl_pool: Pool = "tokens",
        ppl_count: int | None = None,
        ppl_on: PerplexityOn = "response",
        rescore_every: int = 1,
        rescore_which: RescoreWhich = "chosen",
        rescore_scope: RescoreScope = "all",
        exclude_seen: bool = False,
        shuffle: bool = True,
        stop: Stop = "budget",
        budget_passes: float = 1.0,
    ) -> None:
        if not metrics or len(set(metrics)) < len(metrics):
            raise ValueError(f"{OWNER}.metrics must name at least one metric and none twice, got {list(metrics)}.")
        check_range(self, "[1, inf)", num_bands=num_bands, rescore_every=rescore_every, ppl_count=ppl_count)
        check_range(self, "(0, inf)", power=power, budget_passes=budget_passes)
        check_range(self, "(0, 1]", initial_scope=initial_scope)
        self.metrics, self.aware, self.learned, self.loss = list(metrics), list(aware), list(learned), loss
        self.num_bands, self.initial_scope, self.power = num_bands, initial_scope, power
        self.pacing_index, self.clock, self.choice = pacing_index, clock, choice
        self.ppl_pool, self.ppl_count, self.ppl_on = ppl_pool, ppl_count, ppl_on
        self.exclude_seen, self.shuffle = exclude_seen, shuffle
        metric = loss if ppl_on == "response" else _LOSS_OF_ALL_TOKENS
        self._measure = BandMeasure(metric=metric, on=ppl_on, pool=ppl_pool, count=ppl_count)
        self.rescore_every, self.rescore_which, self.rescore_scope = rescore_every, rescore_which, rescore_scope
        self.stop, self.budget_passes = stop, budget_passes
        self._measures = len(self.metrics) > 1 and choice in ("min_ppl", "max_ppl", "softmax")
        self._schedules: BandSchedules | None = None
        self._decision: Decision | None = None

    @property
    def required_metrics(self) -> tuple[str, ...]:
        extra = [self._measure.metric] if self._measures and self._measure.metric not in self.metrics else []
        return (*self.metrics, *extra)

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        size = len(examples)
        if self._schedules is not None and self._schedules.run.num_examples < size:
            raise ValueError(
                f"CampusPolicy has sorted {self._schedules.run.num_examples} examples and cannot take in data "
                f"that have grown to {size}: bands and budget are planned for a known size; start a new run with all "
                "of them."
            )
        run, self._budget = self._fitting_run(size, num_stages)
        self._num_tokens = self._measure.tokens(examples)
        self._schedules = BandSchedules(run, content_ranks(examples.content_hashes))
        self._touched = np.zeros(len(self.metrics), dtype=np.bool_)  # chosen since the last re-scoring
        self._trained, self._last = 0, -1

    def _fitting_run(self, size: int, num_stages: int) -> tuple[BandedRun, int]:
        """Plan the run with the requested bands, or the most that ``num_stages`` allow; returns it with its budget."""
        for num_bands in range(num_stages, 0, -1) if self.num_bands is None else [self.num_bands]:
            scope = scopes(num_bands, self.initial_scope, self.power, self.pacing_index)
            run = BandedRun(
                bands=cut_bands(size, scope), num_schedules=len(self.metrics), clock=self.clock,
                exclude_seen=self.exclude_seen,
            )  # fmt: skip
            budget = run.budget(self.stop, self.budget_passes)
            needed = run.most_stages(budget)
            if needed <= num_stages:
                return run, budget
        raise ValueError(
            f"trainer.max_epochs={num_stages}, but curriculum.policy may take {needed} stages of {len(run.bands)} "
            f"band(s) to train on its {budget} examples; set trainer.max_epochs to {needed} (the run ends when they "
            "are spent) or lower curriculum.policy.num_bands."
        )

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        run, budget = self._fitting_run(num_examples, num_stages)
        return run.planned_sizes(budget)

    def finished(self, stage: int) -> bool:
        return self._trained >= self._budget

    @property
    def _now(self) -> BandSchedules:
        assert self._schedules is not None, "the policy was used before setup"
        return self._schedules

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        now = self._now
        asked = np.zeros(now.run.num_examples, dtype=np.bool_)
        if stage == 0:
            for metric in self.required_metrics:
                asked |= table.never_scored(metric)
            return np.flatnonzero(asked)
        for number in np.flatnonzero(self._due(stage, self.aware)).tolist():
            scope = now.orders[number][now.places(number, self.rescore_scope)]
            asked[scope] |= ~table.unscorable(self.metrics[number])[scope]
        if self._measures:
            for number in np.flatnonzero(now.is_open).tolist():
                part = self._measure.part(now.band(number))
                asked[part] |= ~table.unscorable(self._measure.metric)[part]
        return np.flatnonzero(asked)

    def _due(self, stage: int, kind: Sequence[str]) -> BoolArray:
        """Schedules [n] of ``kind`` that are re-sorted before ``stage``."""
        of_kind = np.array([m in kind for m in self.metrics])
        if stage == 0 or self.rescore_which == "none" or stage % self.rescore_every:
            return np.zeros_like(of_kind)
        due: BoolArray = of_kind & (self._touched | (self.rescore_which == "all_aware"))
        return due

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        assert not self.finished(stage), "step was called after the budget was spent"
        now = self._now
        for number, metric in enumerate(self.metrics):
            if stage == 0:
                assert not table.never_scored(metric).any(), "step was called before candidates were scored"
                now.sort(number, table.hardness(metric), "all", stage)
            elif self._due(stage, self.aware)[number]:
                now.sort(number, table.hardness(metric), self.rescore_scope, stage)
        bands = [now.band(number) for number in range(len(self.metrics))]
        measured = [self._measure.perplexity(table, self._num_tokens, b) if self._measures else math.nan for b in bands]
        chosen = choose(self.choice, np.array(measured), now.is_open, self._last, generator)
        taught = bands[chosen][: self._budget - self._trained]
        self._decision = Decision(
            stage=stage, chosen=chosen, perplexities=measured, clocks=now.clocks.tolist(),
            round=now.round, sizes=[len(b) for b in bands], sorted_at=now.sorted_at.tolist(), taught=taught.copy(),
        )  # fmt: skip
        logged = _scalars(self._decision, self.metrics, now.run.bands, now.orders, table)
        late = self._due(stage, self.learned)
        if stage % self.rescore_every == 0:
            self._touched[:] = False
        self._touched[chosen] = True
        self._trained += len(taught)
        self._last = chosen
        now.advance(chosen, taught)
        for number in np.flatnonzero(late).tolist():
            now.sort(number, table.hardness(self.metrics[number]), self.rescore_scope, stage)
        logged |= {"trained_examples": float(self._trained), "budget_examples": float(self._budget)}
        return Plan(indices=generator.permutation(taught) if self.shuffle else taught, scalars=logged)

    def selection_note(self) -> str:
        assert self._decision is not None, "selection_note was called before step"
        number = self._decision.chosen
        return f"CampusPolicy: schedule {self.metrics[number]}, band {self._decision.clocks[number] + 1}"

    def state_dict(self) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "schedules": self._now.state_dict(),
            "touched": torch.from_numpy(self._touched.copy()),
            "trained": self._trained,
            "last": self._last,
            "decision": None if self._decision is None else self._decision.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["version"] != _VERSION:
            raise ValueError(f"policy state of version {state['version']} cannot be read; expected {_VERSION}.")
        self._now.load_state_dict(state["schedules"])
        self._touched = state["touched"].numpy().copy()
        self._trained, self._last = state["trained"], state["last"]
        self._decision = None if state["decision"] is None else Decision.from_state(state["decision"])


def _scalars(
    decision: Decision,
    metrics: Sequence[str],
    bands: Sequence[tuple[int, int]],
    orders: IntArray,
    table: DifficultyTable,
) -> dict[str, float]:
    """Scalars of a decision under their names in the log.

    Per schedule: its band's perplexity, its clock (bands taught in this round), the scope that its band reaches to, the
    band's size, the stages since it was sorted, and how many of its examples have no score. Per pair of schedules:
    Spearman's rank correlation.

    Args:
        decision: The decision.
        metrics: Names of the n schedules.
        bands: Places of the T bands.
        orders: [n, N] the schedules.
        table: Scores.
    """
    num_examples = orders.shape[1]
    found = {"chosen": float(decision.chosen), "band_size": float(len(decision.taught)), "round": float(decision.round)}
    for number, metric in enumerate(metrics):
        clock = decision.clocks[number]
        found[f"clock/{metric}"] = float(clock)
        found[f"scope/{metric}"] = bands[min(clock, len(bands) - 1)][1] / num_examples
        found[f"band_size/{metric}"] = float(decision.sizes[number])
        found[f"staleness/{metric}"] = float(decision.stage - decision.sorted_at[number])
        found[f"unscorable/{metric}"] = float(table.unscorable(metric).sum())
        if np.isfinite(decision.perplexities[number]):
            found[f"perplexity/{metric}"] = decision.perplexities[number]
    if num_examples > 1:
        places = np.empty(orders.shape, dtype=np.float64)
        np.put_along_axis(places, orders, np.arange(num_examples, dtype=np.float64)[None, :], axis=1)
        for (i, one), (j, other) in combinations(enumerate(metrics), 2):
            found[f"rank_correlation/{one}~{other}"] = float(np.corrcoef(places[i], places[j])[0, 1])
    return found
