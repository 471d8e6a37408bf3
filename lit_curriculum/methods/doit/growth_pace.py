"""Mixtures that follow growth: rows go to the abilities that are predicted to gain most from them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from lit_curriculum.curriculum.base import OWNER, CurriculumPolicy, check_same_data, check_size, resolve_count
from lit_curriculum.curriculum.quotas import count_abilities, split_probes, water_fill
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import BoolArray, ExampleStore, IntArray, Plan
from lit_curriculum.utils.options import check_range

Attitude = Literal["expected", "pessimistic", "exploring"]
Score = Callable[[float], float]
"""Predicted score of an ability from its number of rows."""

_MIN_POINTS = 3


class GrowthPacePolicy(CurriculumPolicy):
    """Refit every ability's loss curve at each stage and allocate the stage by marginal gain.

    A probe of each ability is never trained on; before every stage the model scores it. With n rows of the ability
    trained on so far, repeats counted, the last ``window`` mean losses L are fitted by L = a - b log4(1 + n), and the
    stage's rows go, one by one, to the ability whose loss is predicted to fall most, between a floor and a cap and
    within ``max_change`` of its share before. Until there are three points all abilities get equal shares. The axis is
    rows seen, repeats included, and so not the number of different rows of the paper's curves.

    Args:
        metric: Name of the loss in the difficulty table.
        fraction: Rows of a stage as a share of the data; null where ``count`` is given.
        count: Rows of a stage.
        probe: Rows of each ability that are kept out of training and scored before each stage.
        floor: Smallest share of the stage that an ability gets, in [0, 1/K] with K abilities.
        cap: Largest share, in (0, 1].
        max_change: Most that a share moves from one stage to the next, in (0, 1].
        window: Latest points that a curve is fitted to, at least 3.
        attitude: ``expected`` takes the fitted slope b, ``pessimistic`` b less one standard error, ``exploring`` a draw
            around b with its standard error.

    Raises:
        ValueError: an option is out of range.

    References:
        The allocation is the project's own, after the finding of Song et al. 2023, arXiv 2310.19651, that abilities
        differ in pace.
    """

    def __init__(
        self,
        metric: str,
        fraction: float | None = None,
        count: int | None = None,
        probe: int = 64,
        floor: float = 0.02,
        cap: float = 0.6,
        max_change: float = 0.1,
        window: int = 4,
        attitude: Attitude = "expected",
    ) -> None:
        check_size(fraction=fraction, count=count)
        check_range(self, "[1, inf)", probe=probe)
        check_range(self, f"[{_MIN_POINTS}, inf)", window=window)
        if not 0.0 <= floor < cap <= 1.0:
            raise ValueError(f"{OWNER}: 0 <= floor < cap <= 1 is needed, got {floor=} and {cap=}.")
        check_range(self, "(0, 1]", max_change=max_change)
        self.metric, self.fraction, self.count, self.probe = metric, fraction, count, probe
        self.floor, self.cap, self.max_change, self.window = floor, cap, max_change, window
        self.attitude: Attitude = attitude
        self._seen: dict[str, int] = {}
        self._shares: dict[str, float] = {}
        self._points: dict[str, list[tuple[int, float]]] = {}

    @property
    def required_metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        available = count_abilities(examples.abilities)
        if len(available) < 2:
            raise ValueError(
                f"{OWNER}: GrowthPacePolicy shares out rows among abilities, but the data have {len(available)}; give "
                "records an ability."
            )
        if self.floor * len(available) > 1.0 or self.cap * len(available) < 1.0:
            raise ValueError(
                f"{OWNER}: with {len(available)} abilities floor={self.floor} and cap={self.cap} fit no shares that "
                "sum to 1; floor must be at most, cap at least one over their number."
            )
        self.probes, self._pool = split_probes(examples, self.probe, OWNER)
        self._size = resolve_count(len(examples), fraction=self.fraction, count=self.count)
        if self._size > sum(len(rows) for rows in self._pool.values()):
            raise ValueError(f"{OWNER}: a stage of {self._size} rows exceeds what the probes leave; lower its size.")

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        return [resolve_count(num_examples, fraction=self.fraction, count=self.count)] * num_stages

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        del table, stage
        return np.concatenate([self.probes[a] for a in sorted(self.probes)])

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        if stage == 0:
            self._seen, self._shares, self._points = dict.fromkeys(self._pool, 0), {}, {a: [] for a in self._pool}
        scalars: dict[str, float] = {}
        for a, rows in self.probes.items():
            losses = table.scores[self.metric][rows]
            if np.isnan(losses).any():
                raise ValueError(f"{OWNER}: some probe rows of ability {a!r} have no score; remove empty responses.")
            self._points[a].append((self._seen[a], float(losses.mean())))
            scalars[f"probe/{a}"] = self._points[a][-1][1]
        counts = self._allocate(generator, scalars)
        self._shares = {a: n / self._size for a, n in counts.items()}
        self._seen = {a: n + counts[a] for a, n in self._seen.items()}
        scalars |= {f"p_mix/{a}": share for a, share in self._shares.items()}
        chosen = [generator.permutation(self._pool[a])[: counts[a]] for a in sorted(counts)]
        return Plan(indices=generator.permutation(np.concatenate(chosen)), scalars=scalars)

    def _allocate(self, generator: np.random.Generator, scalars: dict[str, float]) -> dict[str, int]:
        """Rows of each ability in the coming stage."""
        room = {a: len(rows) for a, rows in self._pool.items()}
        if min(len(p) for p in self._points.values()) < _MIN_POINTS:
            return water_fill(room, self._size)
        curves = {}
        for a in sorted(self._pool):
            slope, error = fit_slope(self._points[a][-self.window :])
            taken = slope
            if self.attitude == "pessimistic":
                taken = slope - error
            elif self.attitude == "exploring":
                taken = float(generator.normal(slope, error))
            curves[a] = partial(_gain, taken, self._seen[a])
            scalars |= {f"slope/{a}": slope, f"slope_se/{a}": error, f"marginal_gain/{a}": curves[a](1.0)}
        floors, caps = self.bounds(room)
        return allocate(curves, self._size, floors, caps)

    def bounds(self, room: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
        """Fewest and most rows of each ability, from floor, cap, change and ``room``, the rows that there are."""
        floors, caps = {}, {}
        for a in sorted(room):
            low = max(self.floor, self._shares[a] - self.max_change)
            high = min(self.cap, self._shares[a] + self.max_change)
            caps[a] = min(room[a], int(np.ceil(high * self._size - 1e-9)))
            floors[a] = min(caps[a], int(np.floor(low * self._size + 1e-9)))
        return floors, caps

    def exclusion_reasons(self, table: DifficultyTable) -> Mapping[str, BoolArray]:
        probe = np.zeros(table.num_examples, dtype=np.bool_)
        probe[np.concatenate(list(self.probes.values()))] = True
        return {"a probe, scored and never trained on": probe}

    def state_dict(self) -> dict[str, Any]:
        points = {a: [list(p) for p in points] for a, points in self._points.items()}
        return {"seen": dict(self._seen), "shares": dict(self._shares), "points": points}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_same_data("set of growth curves", ", ".join(sorted(state["seen"])), ", ".join(sorted(self._pool)))
        self._seen, self._shares = dict(state["seen"]), dict(state["shares"])
        self._points = {a: [(int(n), float(v)) for n, v in points] for a, points in state["points"].items()}


def fit_slope(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Fall of the loss in nats per quadrupling of rows seen, and its standard error; zero where n does not change.

    Args:
        points: Rows seen n and mean loss L, at least three; fitted by least squares L = a - b log4(1 + n).
    """
    x = np.log1p([n for n, _ in points]) / np.log(4.0)
    y = np.array([loss for _, loss in points])
    spread = float(((x - x.mean()) ** 2).sum())
    if spread < 1e-12:
        return 0.0, 0.0
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / spread)
    residuals = y - y.mean() - slope * (x - x.mean())
    return -slope, float(np.sqrt((residuals**2).sum() / (len(points) - 2) / spread))


def _gain(slope: float, seen: int, rows: float) -> float:
    """Predicted fall of the loss after ``rows`` more, in nats."""
    return slope * float(np.log1p(rows / (1.0 + seen))) / float(np.log(4.0))


def check_bounds(floors: Mapping[str, int], caps: Mapping[str, int], budget: int) -> None:
    """Refuse bounds that no allocation can meet.

    Raises:
        ValueError: a floor lies above its cap, or the budget outside the sums of floors and of caps.
    """
    for a, floor in floors.items():
        if floor > caps[a]:
            raise ValueError(f"ability {a!r} has a floor of {floor} rows and a cap of {caps[a]}; lower the floor.")
    low, high = sum(floors.values()), sum(caps.values())
    if not low <= budget <= high:
        raise ValueError(f"a budget of {budget} rows is outside {low} to {high}, the sums of floors and of caps.")


def allocate(
    scores: Mapping[str, Score], budget: int, floors: Mapping[str, int], caps: Mapping[str, int]
) -> dict[str, int]:
    """Give rows one by one to the ability whose score gains most from one more row.

    Optimal for concave scores. Where nothing gains any more, the rest is shared equally under the caps. Ties go to the
    first name in the alphabet.

    Args:
        scores: Predicted score of each ability as a function of its rows.
        budget: Rows in all.
        floors: Rows at least of each ability.
        caps: Rows at most of each ability.

    Raises:
        ValueError: no allocation meets floors, caps and budget.
    """
    check_bounds(floors, caps, budget)
    counts = {a: floors[a] for a in sorted(scores)}
    left = budget - sum(counts.values())

    def entry(a: str) -> tuple[float, str] | None:
        if counts[a] == caps[a]:
            return None
        gain = scores[a](counts[a] + 1) - scores[a](counts[a])
        return (-gain, a) if gain > 0 else None

    heap = [e for a in counts if (e := entry(a)) is not None]
    heapq.heapify(heap)
    while heap and left:
        _, a = heapq.heappop(heap)
        counts[a] += 1
        left -= 1
        if (following := entry(a)) is not None:
            heapq.heappush(heap, following)
    if left:
        extra = water_fill({a: caps[a] - n for a, n in counts.items()}, left)
        counts = {a: n + extra[a] for a, n in counts.items()}
    return counts
