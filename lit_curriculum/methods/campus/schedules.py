"""Easy-to-hard schedules of CAMPUS: bands, clocks, band perplexities, and the choice among bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from lit_curriculum.curriculum.ordering import highest_first
from lit_curriculum.curriculum.pacing import root_competence
from lit_curriculum.difficulty.base import num_scored
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import CONDITIONED, WHOLE, BoolArray, ExampleStore, FloatArray, IntArray

Clock = Literal["per_schedule", "shared"]
Stop = Literal["budget", "exhaustion"]
Choice = Literal["min_ppl", "max_ppl", "softmax", "random", "round_robin"]
Pool = Literal["tokens", "examples"]
PerplexityOn = Literal["response", "all"]
RescoreScope = Literal["all", "remaining"]
PacingIndex = Literal["literal", "shifted"]
Bands = Sequence[tuple[int, int]]


def scopes(num_bands: int, initial: float = 0.01, power: float = 2.0, index: PacingIndex = "literal") -> FloatArray:
    """Scopes s(1) to s(T) of CAMPUS, [num_bands]; the last is 1.

    ``literal`` sets s(1) = s1 and takes u = t / T from t = 2 on, so the second band is far wider than any other;
    ``shifted`` takes u = (t - 1) / (T - 1) throughout, so s(1) = s1 follows.

    Args:
        num_bands: Number of bands (T).
        initial: Initial scope (s1).
        power: Progress rate (p).
        index: How the step becomes progress.

    References:
        arXiv 2509.13790, section 3; the formula is a reconstruction of what its sources quote of it.
    """
    steps = np.arange(1, num_bands + 1, dtype=np.float64)
    if index == "literal":
        found = root_competence(steps / num_bands, initial, power)
        found[0] = initial
    else:
        found = root_competence((steps - 1.0) / max(num_bands - 1, 1), initial, power)
    found[-1] = 1.0
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class BandedRun:
    """Length of a run over the bands of several schedules of the same data."""

    bands: Bands
    """Places ``(lo, hi)`` of the bands of every schedule."""
    num_schedules: int
    clock: Clock
    exclude_seen: bool

    @property
    def num_examples(self) -> int:
        """Size of the data (N)."""
        return self.bands[-1][1]

    def budget(self, stop: Stop, passes: float) -> int:
        """Examples that the run trains on: ``passes`` over the data, or until no schedule has a band left."""
        if stop == "exhaustion":
            return self.round_examples
        # The small constant keeps 0.07 * 100 at 7 where the product falls a rounding error below it.
        return max(1, int(passes * self.num_examples + 1e-9))

    @property
    def round_examples(self) -> int:
        """Examples trained on until no schedule has a band left."""
        once = self.clock == "shared" or self.exclude_seen
        return self.num_examples if once else self.num_examples * self.num_schedules

    def most_stages(self, budget: int) -> int:
        """Stages at most until ``budget`` examples have been trained on, whatever is chosen."""
        rounds, rest = divmod(budget, self.round_examples)
        return rounds * self._most_in_round(self.round_examples) + self._most_in_round(rest)

    def _most_in_round(self, budget: int) -> int:
        if budget == 0:
            return 0
        ends = np.array([0, *(hi for _, hi in self.bands)])
        least = ends
        if self.clock == "per_schedule":
            for _ in range(1, self.num_schedules):
                # Fewest examples that c stages can take when one more schedule may take part.
                wider = np.full(len(least) + len(self.bands), np.iinfo(np.int64).max)
                for taken, end in enumerate(ends):
                    part = wider[taken : taken + len(least)]
                    np.minimum(part, least + end, out=part)
                least = wider
        # Stages short of the budget, and the one that reaches it.
        return int(np.flatnonzero(least < budget).max()) + 1

    def planned_sizes(self, budget: int) -> list[int]:
        """Stage sizes if the schedules took turns; their sum is ``budget`` as it is for any other choice."""
        turns = self.num_schedules if self.clock == "per_schedule" else 1
        sizes: list[int] = []
        left = budget
        while left > 0:
            in_round = min(left, self.round_examples)
            left -= in_round
            for lo, hi in (band for band in self.bands for _ in range(turns)):
                if in_round == 0:
                    break
                sizes.append(min(hi - lo, in_round))
                in_round -= sizes[-1]
        return sizes


class BandSchedules:
    """Orders, clocks and seen examples of n schedules of N examples.

    Args:
        run: Bands, number of schedules, clock and whether what was seen is left out.
        tie_rank: [N] ranks that break ties.
    """

    def __init__(self, run: BandedRun, tie_rank: IntArray) -> None:
        self.run, self.tie_rank = run, tie_rank
        num, size = run.num_schedules, run.num_examples
        self.orders: IntArray = np.tile(np.arange(size), (num, 1))
        self.clocks: IntArray = np.zeros(num, dtype=np.int64)
        self.sorted_at: IntArray = np.zeros(num, dtype=np.int64)
        self.seen: BoolArray = np.zeros(size, dtype=np.bool_)
        self.round = 0

    @property
    def is_open(self) -> BoolArray:
        """[n] true where a schedule has a band left."""
        is_open: BoolArray = self.clocks < len(self.run.bands)
        return is_open

    def band(self, number: int) -> IntArray:
        """[K] the examples of a schedule's current band, easiest first; none where it is exhausted."""
        clock = int(self.clocks[number])
        if clock >= len(self.run.bands):
            return np.empty(0, dtype=np.int64)
        lo, hi = self.run.bands[clock]
        order = self.orders[number]
        band: IntArray = order[~self.seen[order]][: hi - lo] if self.run.exclude_seen else order[lo:hi].copy()
        return band

    def places(self, number: int, scope: RescoreScope) -> BoolArray:
        """[N] places of a schedule that a re-sort may change."""
        found: BoolArray = np.ones(len(self.seen), dtype=np.bool_)
        if scope == "remaining" and self.run.exclude_seen:
            found = ~self.seen[self.orders[number]]
        elif scope == "remaining":
            clock = int(self.clocks[number])
            found[: self.run.bands[clock][0] if clock < len(self.run.bands) else None] = False
        return found

    def sort(self, number: int, hardness: FloatArray, scope: RescoreScope, stage: int) -> None:
        """Sort the places in ``scope`` by ``hardness`` [N], easiest first, NaN last."""
        places = self.places(number, scope)
        indices = self.orders[number][places]
        self.orders[number][places] = indices[highest_first(-hardness[indices], self.tie_rank[indices])]
        self.sorted_at[number] = stage

    def advance(self, chosen: int, taught: IntArray) -> None:
        """Move the clock on; where nothing is left all clocks start again."""
        self.clocks[chosen if self.run.clock == "per_schedule" else slice(None)] += 1
        self.seen[taught] = True
        if self.seen.all() if self.run.exclude_seen else not self.is_open.any():
            self.clocks[:], self.seen[:] = 0, False
            self.round += 1

    def state_dict(self) -> dict[str, Any]:
        """Copies, as tensors."""
        arrays = {name: getattr(self, name) for name in ("orders", "clocks", "sorted_at", "seen")}
        return {"round": self.round, **{name: torch.from_numpy(value.copy()) for name, value in arrays.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`.

        Raises:
            ValueError: the state has another number of schedules or examples.
        """
        if tuple(state["orders"].shape) != self.orders.shape:
            raise ValueError(
                f"the checkpoint's schedules are {tuple(state['orders'].shape)} (metrics, examples), this run's are "
                f"{self.orders.shape}; resume with the options and data that the run was started with."
            )
        for name in ("orders", "clocks", "sorted_at", "seen"):
            setattr(self, name, state[name].numpy().copy())
        self.round = state["round"]


def measured_part(band: IntArray, count: int | None) -> IntArray:
    """The examples of ``band`` [M] that are measured: all, or ``count`` of them spread evenly over its order."""
    if count is None or count >= len(band):
        return band
    return band[np.linspace(0, len(band) - 1, count).astype(np.int64)]


def band_perplexity(nll: FloatArray, num_tokens: IntArray, pool: Pool) -> float:
    """Perplexity of a band; infinite where none of its examples has a loss.

    Args:
        nll: [M] mean response loss in nats per token; NaN where there is none.
        num_tokens: [M] scored tokens.
        pool: ``tokens`` is exp of the mean over all tokens, ``examples`` the mean of the examples' perplexities.
    """
    known = np.isfinite(nll)
    if not known.any():
        return float("inf")
    with np.errstate(over="ignore"):
        if pool == "examples":
            return float(np.exp(nll[known]).mean())
        return float(np.exp((nll[known] * num_tokens[known]).sum() / num_tokens[known].sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class BandMeasure:
    """Perplexity of bands under the model in training."""

    metric: str
    """Name of the metric of mean token loss."""
    on: PerplexityOn
    """The tokens that it is the mean of."""
    pool: Pool
    count: int | None

    def tokens(self, examples: ExampleStore) -> IntArray:
        """[N] how many tokens the metric is the mean of."""
        return num_scored(examples, WHOLE if self.on == "all" else CONDITIONED)

    def part(self, band: IntArray) -> IntArray:
        """The examples of ``band`` [M] that are measured, sorted, so that equal bands have equal sums and are a tie."""
        return np.sort(measured_part(band, self.count))

    def perplexity(self, table: DifficultyTable, tokens: IntArray, band: IntArray) -> float:
        """Perplexity of ``band`` [M]; NaN of an empty one."""
        part = self.part(band)
        if not len(part):
            return float("nan")
        return band_perplexity(table.scores[self.metric][part], tokens[part], self.pool)


def choose(
    choice: Choice, perplexities: FloatArray, is_open: BoolArray, last: int, generator: np.random.Generator
) -> int:
    """Choose the schedule whose band is taught; of equal ones the first.

    Args:
        choice: The rule.
        perplexities: [n] perplexity of every schedule's band; only those of open schedules are read.
        is_open: [n] true where a schedule has a band left.
        last: The schedule chosen before, -1 for none.
        generator: Draws for ``random`` and ``softmax``.
    """
    open_ones = np.flatnonzero(is_open)
    if choice == "random":
        return int(generator.choice(open_ones))
    if choice == "round_robin":
        after = open_ones[open_ones > last]
        return int(after[0] if len(after) else open_ones[0])
    found = perplexities[open_ones]
    finite = np.isfinite(found)
    if choice == "min_ppl" or not finite.any():
        return int(open_ones[np.argmin(found)])
    if choice == "max_ppl":
        return int(open_ones[np.argmax(np.where(finite, found, -np.inf))])
    odds = np.where(finite, np.exp(-(found - found.min())), 0.0)
    return int(generator.choice(open_ones, p=odds / odds.sum()))
