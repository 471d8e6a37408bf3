"""Re-score only the examples that may change the choice, with a bound on the errors."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch

from lit_curriculum.curriculum.base import OWNER, CurriculumPolicy, check_same_data
from lit_curriculum.difficulty.table import NEVER, DifficultyTable
from lit_curriculum.methods.wrappers.drift import AuditSample, Bounds, DriftModel, kth_highest
from lit_curriculum.methods.wrappers.wrapper import PolicyWrapper, check_read
from lit_curriculum.types import BoolArray, ExampleStore, FloatArray, IntArray, Plan, make_generator
from lit_curriculum.utils.options import check_range

Pick = Literal["hardest", "easiest"]

_VERSION = 1
_CHECKED_PART = 4
"""The part of ``max_count`` that a check may take: one in so many."""


class BudgetedRefresh(PolicyWrapper):
    """Re-score only candidates of a policy that are near the cut, too old, never scored, or drawn for the audit.

    Scores drift by a common shift with a spread around it, once for every stage and once for every training on the
    example. Both are estimated from examples that were scored twice. An old score is moved by the shifts. Its bounds
    are the ``confidence``-quantiles of the spreads times its age and its number of trainings. A candidate is skipped
    where its bounds lie above or below every possible K-th highest score, and is then chosen by its moved score. The
    choice equals that of a full refresh where no skipped score leaves its bounds. That is unknown in advance, so the
    bounds only select whom to score.

    **Audit:** of the candidates to skip, ``check_count`` are drawn and scored. Their share on the wrong side of the
    cut gives an upper bound on the number of wrong choices, with a probability of 95 % over the draw, for any drift
    (:func:`~lit_curriculum.methods.wrappers.drift.upper_error_bound`). The bound holds for policies that take the K
    highest or lowest scores of one metric. For others, such as IterIT with novelty, it bounds the number of scores on
    the wrong side of the K-th highest.

    Savings begin at stage 2, since stage 1 estimates the drift. Scalars of every plan: ``refresh_scored``,
    ``refresh_saved`` (share of candidates not scored), ``refresh_checked`` (number audited),
    ``refresh_measured_error`` (share of them on the wrong side), ``refresh_errors_at_most`` (the bound on choices),
    ``refresh_safe_drift`` (deviation per stage up to which the choice is exact), ``refresh_drift`` and
    ``refresh_drift_trained`` (the assumed quantiles). Without an audit there is no measured error, and no bound
    unless nothing was skipped.

    Args:
        policy: The wrapped policy.
        metric: The metric that its choice depends on.
        pick: Whether it chooses the ``hardest`` or the ``easiest`` by that metric.
        limit: A second cut, such as IterIT's ``max_complexity``: scores beyond it are not chosen. Candidates that may
            cross it are scored.
        confidence: Share of single changes, in (0, 1], within the bounds.
        check_count: Number of candidates in the audit, which also keeps the estimate of the drift up to date.
        max_age: Largest age of a kept score, in stages; null for no limit.
        max_count: Largest number of candidates to score: the audit, at most a quarter of it, and those nearest to the
            cut. Candidates without a score or beyond ``max_age`` count, but are always scored.
        check_seed: Seed of the draw of the audit.

    Raises:
        ValueError: an option is out of range, or the policy does not read the metric.
    """

    def __init__(
        self,
        policy: CurriculumPolicy,
        metric: str,
        pick: Pick = "hardest",
        limit: float | None = None,
        confidence: float = 0.95,
        check_count: int = 64,
        max_age: int | None = 4,
        max_count: int | None = None,
        check_seed: int = 0,
    ) -> None:
        super().__init__(policy)
        check_read(OWNER, metric, policy)
        check_range(self, "(0, 1]", confidence=confidence)
        check_range(self, "[0, inf)", check_count=check_count)
        check_range(self, "[1, inf)", max_age=max_age, max_count=max_count)
        self.metric, self.pick, self.limit, self.confidence = metric, pick, limit, confidence
        self.check_count, self.max_age, self.max_count, self.check_seed = check_count, max_age, max_count, check_seed
        self._reset(0)

    def _reset(self, num_examples: int) -> None:
        self._last = np.full(num_examples, np.nan)
        self._last_at = np.full(num_examples, NEVER, dtype=np.int32)
        self._trainings = np.zeros(num_examples, dtype=np.int64)
        self._drift = DriftModel.unknown()
        self._check: AuditSample | None = None

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        super().setup(examples, num_stages)
        self._num_stages = num_stages
        extra = len(examples) - len(self._last)
        if len(self._last) == 0 or extra < 0:
            self._reset(len(examples))
        elif extra > 0:
            self._last = np.append(self._last, np.full(extra, np.nan))
            self._last_at = np.append(self._last_at, np.full(extra, NEVER, dtype=np.int32))
            self._trainings = np.append(self._trainings, np.zeros(extra, dtype=np.int64))

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        asked = self.policy.candidates(table, stage)
        if stage == 0 or not len(asked):
            return asked
        ages = (stage - table.scored_at[self.metric][asked]).astype(np.int64)
        must = ~np.isfinite(table.scores[self.metric][asked])
        if self.max_age is not None:
            must |= ages > self.max_age
        height = self._signed_score(table)[asked]
        found = self._bounds(height, ages, asked)
        near, checks = self._uncertain(found, table, stage) & ~must, self.check_count
        if self.max_count is not None:
            checks = min(checks, self.max_count // _CHECKED_PART)
            room = max(0, self.max_count - checks - int(must.sum()))
            if near.sum() > room:
                near = found.nearest(self._cut(found.expected, table, stage), near, room)
        skipped = np.flatnonzero(~must & ~near)
        drawn = make_generator(self.check_seed, stage, "budgeted refresh").permutation(skipped)[:checks]
        # For the step that follows: what is drawn has lost its old score by then.
        self._check = AuditSample(stage, asked[drawn], height[drawn], ages[drawn], len(skipped))
        must[drawn] = True
        return asked[must | near]

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        height, scored_at = self._signed_score(table), table.scored_at[self.metric]
        scalars: dict[str, float] = {}
        used = table
        asked = self.policy.candidates(table, stage) if stage > 0 else np.empty(0, dtype=np.int64)
        asked = asked[np.isfinite(height[asked])]
        assumed = {"refresh_drift": self._drift.stage, "refresh_drift_trained": self._drift.training}
        # First, so that what was skipped moves as others did since: last stage's shifts may be far from these.
        self._learn(height, scored_at, stage)
        if len(asked):
            ages = (stage - scored_at[asked]).astype(np.int64)
            skipped = asked[ages > 0]
            moved = height.copy()
            moved[skipped] = self._bounds(height[skipped], ages[ages > 0], skipped).expected
            used = self._with_scores(table, moved)
            found = self._account(table, moved, asked, ages, stage)
            found |= {name: drift.limit(self.confidence) for name, drift in assumed.items()}
            scalars = {name: value for name, value in found.items() if np.isfinite(value)}
        plan = self.policy.step(used, stage, generator)
        self._last, self._last_at = height.copy(), scored_at.copy()
        self._trainings[scored_at == stage] = 0
        np.add.at(self._trainings, plan.indices, 1)
        return replace(plan, scalars={**plan.scalars, **scalars})

    def _signed_score(self, table: DifficultyTable) -> FloatArray:
        """Scores [N] with a sign such that the highest are chosen."""
        return -table.scores[self.metric] if self._is_reversed(table) else table.scores[self.metric].copy()

    def _is_reversed(self, table: DifficultyTable) -> bool:
        return table.higher_is_harder[self.metric] != (self.pick == "hardest")

    def _with_scores(self, table: DifficultyTable, height: FloatArray) -> DifficultyTable:
        """Copy of the table for the wrapped policy, with ``height`` [N] in place of the metric's scores."""
        view = copy.copy(table)
        scores = -height if self._is_reversed(table) else height
        # What cannot be negative stays so.
        scores = np.where(table.scores[self.metric] >= 0, np.maximum(scores, 0.0), scores)
        view.scores = {**table.scores, self.metric: scores}
        return view

    def _bounds(self, height: FloatArray, ages: IntArray, indices: IntArray) -> Bounds:
        return self._drift.bounds(height, ages, self._trainings[indices], self.confidence)

    def _limit(self, table: DifficultyTable) -> float:
        if self.limit is None:
            return np.inf
        return -self.limit if self._is_reversed(table) else self.limit

    def _uncertain(self, found: Bounds, table: DifficultyTable, stage: int) -> BoolArray:
        """Candidates [K] for which the bounds do not decide whether they are chosen."""
        limit = self._limit(table)
        inside = found.low < limit
        near: BoolArray = inside & (found.high >= limit) & np.isfinite(limit)
        # Who may be cut off may leave its place to any other.
        low = np.where(near, -np.inf, found.low)[inside]
        near[inside] |= Bounds(found.expected[inside], low, found.high[inside]).in_play(self._size(stage))
        return near

    def _size(self, stage: int) -> int:
        return self.policy.stage_sizes(len(self._last), self._num_stages)[stage]

    def _cut(self, values: FloatArray, table: DifficultyTable, stage: int) -> float:
        """Lowest value that is chosen among ``values`` [K]."""
        size, eligible = self._size(stage), values[values < self._limit(table)]
        return -np.inf if size >= len(eligible) else kth_highest(eligible, size)

    def _account(
        self, table: DifficultyTable, moved: FloatArray, asked: IntArray, ages: IntArray, stage: int
    ) -> dict[str, float]:
        """Scalars of the savings, and of the errors that the audit sample shows."""
        cut = self._cut(moved[asked], table, stage)
        away = np.minimum(np.abs(moved[asked] - cut), np.abs(moved[asked] - self._limit(table)))[ages > 0]
        found = {
            "refresh_scored": float((ages == 0).sum()),
            "refresh_saved": float((ages > 0).mean()),
            "refresh_safe_drift": float((away / ages[ages > 0]).min()) if len(away) else np.inf,
        }
        check = self._check
        if check is None or check.stage != stage or not len(check.indices):
            return found | {"refresh_checked": 0.0, "refresh_errors_at_most": np.nan if len(away) else 0.0}
        guess = self._bounds(check.height, check.ages, check.indices).expected
        sides = [(values >= cut) & (values < self._limit(table)) for values in (guess, moved[check.indices])]
        return found | check.figures(int((sides[0] != sides[1]).sum()), self._size(stage))

    def _learn(self, height: FloatArray, scored_at: np.ndarray[Any, np.dtype[np.int32]], stage: int) -> None:
        """Update the drift from examples that were scored for this stage and before."""
        again = np.flatnonzero((scored_at == stage) & (self._last_at < stage) & np.isfinite(self._last + height))
        change = height[again] - self._last[again]
        self._drift = self._drift.learn(change, (stage - self._last_at[again]).astype(np.int64), self._trainings[again])

    def state_dict(self) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "policy": self.policy.state_dict(),
            "last": torch.from_numpy(self._last.copy()),
            "last_at": torch.from_numpy(self._last_at.copy()),
            "trainings": torch.from_numpy(self._trainings.copy()),
            "drift": self._drift.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["version"] != _VERSION:
            raise ValueError(f"policy state of version {state['version']} cannot be read; expected {_VERSION}.")
        check_same_data("refresh", f"{len(state['last'])} examples", f"{len(self._last)} examples")
        self.policy.load_state_dict(state["policy"])
        self._last, self._last_at = state["last"].numpy().copy(), state["last_at"].numpy().copy()
        self._trainings, self._drift = state["trainings"].numpy().copy(), DriftModel.from_state(state["drift"])
