"""CAMPUS: several easy-to-hard schedules of the same data; the band that the current model finds easiest is taught."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.curriculum.ordering import content_ranks
from lit_curriculum.curriculum.pacing import PacingIndex, cut_bands, scopes
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.difficulty.words import check_choice
from lit_curriculum.methods.campus.decision import Decision, scalars
from lit_curriculum.methods.campus.schedules import (
    BandedRun,
    BandMeasure,
    BandSchedules,
    Choice,
    Clock,
    PerplexityOn,
    Pool,
    RescoreScope,
    RunLength,
    Stop,
    choose,
    first_that_fits,
)
from lit_curriculum.types import BoolArray, ExampleStore, IntArray, Plan

_OWNER = "curriculum.policy"


def check_campus_options(
    metrics: Sequence[str],
    names: Mapping[str, tuple[str, tuple[str, ...]]],
    counts: Mapping[str, int | None],
    positive: Mapping[str, float],
    budget_passes: float | None,
    budget_examples: int | None,
) -> None:
    """Refuse options out of range.

    Args:
        metrics: Names of the metrics.
        names: Option -> its value and the values allowed.
        counts: Option -> a number of 1 or more, or none.
        positive: Option -> a number above 0.
        budget_passes: Passes over the data.
        budget_examples: Number of examples.

    Raises:
        ValueError: names the option.
    """
    if not metrics or len(set(metrics)) < len(metrics):
        raise ValueError(f"{_OWNER}.metrics must name at least one metric and none twice, got {list(metrics)}.")
    for option, (value, allowed) in names.items():
        check_choice(f"{_OWNER}.{option}", value, allowed)
    for option, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{_OWNER}.{option} must be at least 1, got {count}.")
    for option, number in positive.items():
        if not number > 0.0:
            raise ValueError(f"{_OWNER}.{option} must be above 0, got {number}.")
    if positive["initial_scope"] > 1.0:
        raise ValueError(f"{_OWNER}.initial_scope must be in (0, 1], got {positive['initial_scope']}.")
    if (budget_passes is None) == (budget_examples is None):
        raise ValueError(
            f"{_OWNER}: give exactly one of budget_passes and budget_examples (got {budget_passes=}, "
            f"{budget_examples=})."
        )
    for option, budget in (("budget_passes", budget_passes), ("budget_examples", budget_examples)):
        if budget is not None and not budget > 0:
            raise ValueError(f"{_OWNER}.{option} must be above 0, got {budget}.")


def grown_sentence(num_sorted: int, size: int) -> str:
    """What is said of data that have grown in the middle of a run."""
    return (
        f"CampusPolicy has sorted {num_sorted} examples and cannot take in data that have grown to {size}: bands and "
        "budget are planned for a known size; start a new run with all of them."
    )


RescoreWhich = Literal["chosen", "all_aware", "none"]

_VERSION = 1


class CampusPolicy(CurriculumPolicy):
    """Per stage: measure every schedule's current band with the model, train on one of them, advance its clock.

    Each metric sorts all examples from easy to hard (ties by content hash, examples without a score last), and a
    pacing function cuts every such schedule into bands. A run ends when its budget is spent: the last band is cut to
    it, easiest first. ``trainer.max_epochs`` is an upper bound on the number of stages, since with clocks per schedule
    that number depends on what is chosen. When no schedule has a band left, all clocks start again.

    A band's perplexity comes from the losses that the table holds, so that measuring it and re-sorting by loss cost
    one forward pass; over all tokens it takes a second one, as the loss that sorts is the response's. A learned metric
    is scored after the losses, when it is too late to measure a band that its new scores would make; so its schedule
    is re-sorted after the choice and counts from the next one on. Data that grow are refused: bands and budget are
    planned for a known size.

    Args:
        metrics: Names of the metrics, one schedule each (n = 4 in the paper).
        aware: Those among them that the model in training measures; what else sorts is static.
        learned: Those that score all examples by themselves, following the model.
        loss: Name of the metric of mean response loss, from which bands' perplexities come.
        ppl_on: Take perplexities over ``response`` tokens or over ``all``, the prompt's included.
        ppl_all: Name of the metric of the mean loss of all tokens
            (:class:`~lit_curriculum.ConversationNLL`), for ``ppl_on: all``.
        num_bands: Bands of a schedule (T); null takes the most for which ``trainer.max_epochs`` always suffices.
        initial_scope: Share of the data in the first band (s1).
        power: Progress rate of the scope (p).
        pacing_index: ``literal`` or ``shifted``; see :func:`~lit_curriculum.curriculum.pacing.scopes`.
        clock: ``per_schedule`` advances the chosen schedule, ``shared`` all of them.
        choice: ``min_ppl`` (the method), or for comparison ``max_ppl``, ``softmax`` of the negative perplexity,
            ``random`` and ``round_robin``, of which the last two measure nothing.
        temperature: Of ``softmax``, in units of perplexity.
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
        budget_passes: Budget in passes over the data; null where ``budget_examples`` is given.
        budget_examples: Budget in examples.

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
        temperature: float = 1.0,
        ppl_pool: Pool = "tokens",
        ppl_count: int | None = None,
        ppl_on: PerplexityOn = "response",
        ppl_all: str = "loss_all",
        rescore_every: int = 1,
        rescore_which: RescoreWhich = "chosen",
        rescore_scope: RescoreScope = "all",
        exclude_seen: bool = False,
        shuffle: bool = True,
        stop: Stop = "budget",
        budget_passes: float | None = 1.0,
        budget_examples: int | None = None,
    ) -> None:
        names = {
            "pacing_index": (pacing_index, get_args(PacingIndex)), "clock": (clock, get_args(Clock)),
            "choice": (choice, get_args(Choice)), "ppl_pool": (ppl_pool, get_args(Pool)),
            "ppl_on": (ppl_on, get_args(PerplexityOn)), "rescore_which": (rescore_which, get_args(RescoreWhich)),
            "rescore_scope": (rescore_scope, get_args(RescoreScope)), "stop": (stop, get_args(Stop)),
        }  # fmt: skip
        counts = {"num_bands": num_bands, "rescore_every": rescore_every, "ppl_count": ppl_count}
        positive = {"power": power, "temperature": temperature, "initial_scope": initial_scope}
        check_campus_options(metrics, names, counts, positive, budget_passes, budget_examples)
        self.metrics, self.aware, self.learned, self.loss = list(metrics), list(aware), list(learned), loss
        self.num_bands, self.initial_scope, self.power = num_bands, initial_scope, power
        self.pacing_index, self.clock, self.choice, self.temperature = pacing_index, clock, choice, temperature
        self.ppl_pool, self.ppl_count, self.ppl_on, self.ppl_all = ppl_pool, ppl_count, ppl_on, ppl_all
        self.exclude_seen, self.shuffle = exclude_seen, shuffle
        metric = loss if ppl_on == "response" else ppl_all
        self._measure = BandMeasure(metric=metric, on=ppl_on, pool=ppl_pool, count=ppl_count)
        self.rescore_every, self.rescore_which, self.rescore_scope = rescore_every, rescore_which, rescore_scope
        self.stop, self.budget_passes, self.budget_examples = stop, budget_passes, budget_examples
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
            raise ValueError(grown_sentence(self._schedules.run.num_examples, size))
        run = self._banded_run(size, num_stages)
        self._budget = self._length().budget(run)
        self._num_tokens = self._measure.tokens(examples)
        self._schedules = BandSchedules(run, content_ranks(examples.content_hashes))
        self._touched = np.zeros(len(self.metrics), dtype=np.bool_)  # chosen since the last re-scoring
        self._trained, self._last = 0, -1

    def _length(self) -> RunLength:
        return RunLength(stop=self.stop, passes=self.budget_passes, examples=self.budget_examples)

    def _banded_run(self, size: int, num_stages: int) -> BandedRun:
        """The run with the bands asked for, or with the most bands that ``num_stages`` allow."""

        def run_of(num_bands: int) -> BandedRun:
            scope = scopes(num_bands, self.initial_scope, self.power, self.pacing_index)
            return BandedRun(
                bands=cut_bands(size, scope), num_schedules=len(self.metrics), clock=self.clock,
                exclude_seen=self.exclude_seen,
            )  # fmt: skip

        tried = range(num_stages, 0, -1) if self.num_bands is None else [self.num_bands]
        return first_that_fits(map(run_of, tried), self._length(), num_stages)

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        run = self._banded_run(num_examples, num_stages)
        return run.planned_sizes(self._length().budget(run))

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
        """[n] schedules of ``kind`` that are re-sorted before ``stage``."""
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
        chosen = choose(self.choice, np.array(measured), now.is_open, self._last, self.temperature, generator)
        taught = bands[chosen][: self._budget - self._trained]
        self._decision = Decision(
            stage=stage, chosen=chosen, perplexities=measured, clocks=now.clocks.tolist(),
            round=now.round, sizes=[len(b) for b in bands], sorted_at=now.sorted_at.tolist(), taught=taught.copy(),
        )  # fmt: skip
        logged = scalars(self._decision, self.metrics, now.run.bands, now.orders, table)
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
