"""TAPIR: rounds that mix hard and easy instructions, with hard ones resampled to target task ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from lit_curriculum.curriculum.base import OWNER, CurriculumPolicy, resolve_count
from lit_curriculum.curriculum.ordering import content_ranks
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.tapir.difficulty import is_hard, threshold
from lit_curriculum.types import CONDITIONED, BoolArray, ExampleStore, FloatArray, IntArray, Plan, make_generator
from lit_curriculum.utils.options import check_exactly_one, check_range

Mode = Literal["sample", "weight"]
HardSet = Literal["mfd", "random"]

OTHER_TASK = "Others"
"""Task of an example that has none."""
_TRIALS = 12
"""Sizes that a budget of tokens is tried with."""


class Pools(NamedTuple):
    """The rows that a stage may draw from, in the order of their content hashes."""

    hard: IntArray
    easy: IntArray
    delta: float
    """The threshold in use (delta)."""


class TapirPolicy(CurriculumPolicy):
    """Train on rounds with a rising share alpha_r of hard rows.

    Hard are judged rows whose difficulty lies strictly above the threshold, and rows that were written from them
    (with ``round`` in their ``meta``) unless they have been judged themselves. Easy are the others; they are neither
    balanced nor refined. A row that another has replaced (``replaces`` in its ``meta``) is drawn no more. Stages
    before ``warmup_stages`` train on the raw data alone and make S_0, the student that is judged.

    Args:
        count: Rows of a stage (n), which may be more than the raw data have; null where ``fraction`` is given.
        fraction: Share of the raw data instead.
        token_budget: Tokens of a stage instead, instructions and responses: as many rows as come nearest to it, so
            that runs can be compared at equal tokens.
        metric: Name of the difficulty (MFD) in the table.
        alpha_start: Share of hard rows in round 1 (alpha_1).
        alpha_step: What each round adds (delta alpha); the sum stays in [0, 1].
        epochs_per_round: Stages of a round.
        warmup_stages: Stages before round 1; 0 where the model is S_0 already.
        mode: ``sample`` draws the share; ``weight`` draws hard and easy rows in proportion to their pools and gives
            them weights whose sums are in the share.
        delta: Threshold of the difficulty; null where ``target_keep`` is given.
        target_keep: Share of the judged rows to call hard, in (0, 1).
        hard_set: ``mfd``, or ``random`` rows of the same number, the control of the difficulty.
        targets: Target ratio of each task on the hard side; null draws it uniformly.
        max_repeat: How often a stage may take a row to reach its task's quota.

    Raises:
        ValueError: an option is out of range.

    References:
        Yue et al., arXiv 2405.13448, section 3, Multi-round Curriculum Planning.
    """

    def __init__(
        self,
        count: int | None = None,
        fraction: float | None = None,
        token_budget: int | None = None,
        metric: str = "mfd",
        alpha_start: float = 0.3,
        alpha_step: float = 0.2,
        epochs_per_round: int = 1,
        warmup_stages: int = 0,
        mode: Mode = "sample",
        delta: float | None = 2.0,
        target_keep: float | None = None,
        hard_set: HardSet = "mfd",
        targets: dict[str, float] | None = None,
        max_repeat: int = 4,
    ) -> None:
        check_exactly_one(self, count=count, fraction=fraction, token_budget=token_budget)
        check_exactly_one(self, delta=delta, target_keep=target_keep)
        check_range(self, "[1, inf)", count=count, token_budget=token_budget)
        check_range(self, "[1, inf)", epochs_per_round=epochs_per_round, max_repeat=max_repeat)
        check_range(self, "[0, inf)", warmup_stages=warmup_stages)
        check_range(self, "(0, 1]", fraction=fraction)
        check_range(self, "[0, 1]", alpha_start=alpha_start)
        check_range(self, "(0, 1)", target_keep=target_keep)
        if targets is not None and (not targets or min(targets.values()) < 0.0 or sum(targets.values()) <= 0.0):
            raise ValueError(f"{OWNER}.targets needs ratios of at least 0 with a positive sum, got {targets}.")
        self.count, self.fraction, self.token_budget, self.metric = count, fraction, token_budget, metric
        self.alpha_start, self.alpha_step = alpha_start, alpha_step
        self.epochs_per_round, self.warmup_stages = epochs_per_round, warmup_stages
        self.mode, self.delta, self.target_keep, self.hard_set = mode, delta, target_keep, hard_set
        self.targets, self.max_repeat = targets, max_repeat
        self.found_tasks: Mapping[int, str] = {}
        """Of raw rows for which the data name none, by index; to be set before :meth:`setup`."""

    @property
    def required_metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        metas = [examples[i].meta for i in range(len(examples))]
        rounds = np.array([m.get("round", 0) for m in metas], dtype=np.int64)
        stands_for = np.array([-1 if m.get("replaces") is None else m["replaces"] for m in metas], dtype=np.int64)
        self.replaced: BoolArray = np.zeros(len(examples), dtype=np.bool_)
        """[N] true for rows that another row replaces."""
        self.replaced[stands_for[stands_for >= 0]] = True
        self.raw: BoolArray = rounds == 0
        """[N] true for the raw data; where the teacher has rewritten their answers, for the rewritten rows."""
        self.raw[stands_for[(stands_for >= 0) & self.raw]] = False
        self._lengths = examples.lengths(CONDITIONED)
        named = [m.get("task") or a for m, a in zip(metas, examples.abilities, strict=True)]
        self._tasks = np.array([str(t or self.found_tasks.get(i, OTHER_TASK)) for i, t in enumerate(named)])
        self._rank = content_ranks(examples.content_hashes)
        # The size is a share of the raw data, so it stays when they have grown.
        self._size = self._rows_of_stage(int(self.raw.sum()))

    def round_of(self, stage: int) -> int:
        """The round, from 1, that ``stage`` belongs to; 0 while S_0 is made."""
        return 0 if stage < self.warmup_stages else (stage - self.warmup_stages) // self.epochs_per_round + 1

    def alpha(self, round_: int) -> float:
        """Share of hard rows in a round, from 1 (alpha_r)."""
        return min(1.0, max(0.0, self.alpha_start + (round_ - 1) * self.alpha_step))

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        return [self._rows_of_stage(num_examples)] * num_stages

    def threshold(self, table: DifficultyTable) -> float:
        """The difficulty above which a row is hard, by the table as it is (delta)."""
        return threshold(table.scores[self.metric][self.raw], delta=self.delta, target_keep=self.target_keep)

    def pools(self, table: DifficultyTable) -> Pools:
        """The hard and the easy rows by the table as it is; no row is in both.

        Raises:
            ValueError: there is no hard row.
        """
        gaps: FloatArray = table.scores[self.metric]
        delta = self.threshold(table)
        judged: BoolArray = is_hard(gaps, delta)
        if self.hard_set == "random":
            judged = self._random_instead(judged)
        hard = (judged | (~self.raw & np.isnan(gaps))) & ~self.replaced
        if not hard.any():
            raise ValueError(
                f"no instruction has a {self.metric} above {delta:g}, so there is nothing hard to train on; lower "
                f"{OWNER}.delta or set {OWNER}.target_keep."
            )
        easy = ~hard & ~self.replaced
        order = np.argsort(self._rank, kind="stable")
        return Pools(order[hard[order]], order[easy[order]], delta)

    def tasks_of(self, rows: IntArray) -> list[str]:
        """Task of each of ``rows`` [K]."""
        return [str(t) for t in self._tasks[rows]]

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        if self.token_budget is None:
            return self._plan(table, stage, self._size, generator)
        seed, size = int(generator.integers(1 << 62)), self._size
        plans: dict[int, Plan] = {}
        # Rows of one draw differ in length from those of another, so that size is approached in a few trials.
        while size not in plans and len(plans) < _TRIALS:
            plans[size] = self._plan(table, stage, size, np.random.default_rng(seed))
            size = max(1, round(size * self.token_budget / max(1, self._tokens_of(plans[size]))))
        return min(plans.values(), key=lambda plan: abs(self._tokens_of(plan) - int(self.token_budget or 0)))

    def _tokens_of(self, plan: Plan) -> int:
        return int(self._lengths[plan.indices].sum())

    def _plan(self, table: DifficultyTable, stage: int, size: int, generator: np.random.Generator) -> Plan:
        if self.round_of(stage) == 0:
            raw = np.argsort(self._rank, kind="stable")
            rows = draw_rows(raw[self.raw[raw]], size, generator)
            return Plan(indices=generator.permutation(rows), scalars={"alpha": 0.0})
        pools, alpha = self.pools(table), self.alpha(self.round_of(stage))
        if not len(pools.easy):
            alpha = 1.0
        share = alpha if self.mode == "sample" else len(pools.hard) / (len(pools.hard) + len(pools.easy))
        num_hard = round(share * size)
        hard = self._draw_hard(pools.hard, num_hard, generator)
        num_easy = size - num_hard
        if len(hard) < num_hard and share > 0.0:
            num_easy = round(len(hard) * (1.0 - share) / share)  # so that the share stays what it should be
        easy = draw_rows(pools.easy, num_easy, generator)
        rows = np.concatenate([hard, easy])
        weights = np.ones(len(rows), dtype=np.float32)
        if self.mode == "weight" and len(hard) and len(easy):
            weights[: len(hard)] = alpha * len(rows) / len(hard)
            weights[len(hard) :] = (1.0 - alpha) * len(rows) / len(easy)
        order = generator.permutation(len(rows))
        scalars = {
            "alpha": alpha, "round": float(self.round_of(stage)), "delta": pools.delta,
            "hard_rows": float(len(hard)), "easy_rows": float(len(easy)),
            "hard_share": float(weights[: len(hard)].sum() / weights.sum()),
            "hard_pool": float(len(pools.hard)), "easy_pool": float(len(pools.easy)),
            "quota_shortfall": float(num_hard - len(hard)),
        }  # fmt: skip
        return Plan(indices=rows[order], weights=weights[order] if self.mode == "weight" else None, scalars=scalars)

    def exclusion_reasons(self, table: DifficultyTable) -> Mapping[str, BoolArray]:
        return {"replaced by another row": self.replaced}

    def _rows_of_stage(self, num_raw: int) -> int:
        if self.token_budget is not None:
            return max(1, round(self.token_budget / float(self._lengths[self.raw].mean())))
        if self.count is not None:
            return self.count
        return resolve_count(num_raw, fraction=self.fraction, count=None)

    def _draw_hard(self, hard: IntArray, num_hard: int, generator: np.random.Generator) -> IntArray:
        if self.targets is None:
            return draw_rows(hard, min(num_hard, self.max_repeat * len(hard)), generator)
        tasks = self._tasks[hard]
        names, counts = np.unique(tasks, return_counts=True)
        available = dict(zip(names.tolist(), counts.tolist(), strict=True))
        allocation = allocate(self.targets, num_hard, available, self.max_repeat)
        drawn = [draw_rows(hard[tasks == t], n, generator) for t, n in allocation.items() if n]
        return np.concatenate([*drawn, np.empty(0, dtype=np.int64)])

    def _random_instead(self, judged: BoolArray) -> BoolArray:
        """As many raw rows as are hard, at random by their content."""
        rows = np.argsort(self._rank, kind="stable")
        rows = rows[self.raw[rows]]
        num = int(judged[self.raw].sum())
        other = judged & ~self.raw
        other[make_generator(0, 0, "tapir-random-hard").permutation(rows)[:num]] = True
        return other


def allocate(
    ratios: Mapping[str, float], total: int, available: Mapping[str, int], max_repeat: int = 1
) -> dict[str, int]:
    """Share ``total`` rows out to the tasks by ratio, under what each task has.

    A task gives at most ``max_repeat`` times its rows. What it cannot give goes to the others by their ratios, until
    all are at their limit; fewer than ``total`` rows are shared out then.

    Args:
        ratios: Target ratio of each task; they need not add up to one.
        total: Rows to share out.
        available: Rows that each task has; tasks without a ratio are not drawn from.
        max_repeat: How often a row may be taken.

    Returns:
        Counts of all tasks of ``ratios``, each within 1 of its quota.

    References:
        Yue et al., arXiv 2405.13448, section 3: training data resampled to target task ratios.
    """
    caps = {t: max_repeat * available.get(t, 0) for t in ratios}
    due = {t: r for t, r in ratios.items() if r > 0.0}
    counts = {t: 0 for t in due if caps[t] == 0}
    left = total
    while open_ := {t: r for t, r in due.items() if t not in counts}:
        share = left / sum(open_.values())
        full = [t for t, r in open_.items() if r * share > caps[t]]
        if not full:
            rounded = largest_remainders(np.array(list(open_.values())), left)
            counts |= dict(zip(open_, rounded.tolist(), strict=True))
            break
        for task in full:
            counts[task] = caps[task]
            left -= caps[task]
    return dict.fromkeys(ratios, 0) | counts


def largest_remainders(shares: FloatArray, total: int) -> IntArray:
    """Whole numbers [K] that add up to ``total`` and lie within 1 of ``total * shares / sum(shares)``.

    What rounding down leaves goes to the largest remainders; equal ones by place.
    """
    exact = total * np.asarray(shares, dtype=np.float64) / np.sum(shares)
    counts = np.floor(exact + 1e-9).astype(np.int64)
    left = total - int(counts.sum())
    counts[np.argsort(-(exact - counts), kind="stable")[:left]] += 1
    return counts


def draw_rows(rows: IntArray, count: int, generator: np.random.Generator) -> IntArray:
    """``count`` of ``rows`` [K] at random, each as often as any other to within one.

    Args:
        rows: In an order that does not depend on the file's, since the draw is of places.
        count: How many; more than K repeats rows.
        generator: Of the draw.
    """
    whole, rest = divmod(count, len(rows)) if count else (0, 0)
    parts = [rows] * whole
    if rest:
        parts.append(generator.permutation(rows)[:rest])
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, dtype=np.int64)
