"""The perplexity of a band, and which band is taught."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.difficulty.views import num_scored
from lit_curriculum.types import CONDITIONED, WHOLE, BoolArray, ExampleStore, FloatArray, IntArray

Choice = Literal["min_ppl", "max_ppl", "softmax", "random", "round_robin"]
Pool = Literal["tokens", "examples"]
PerplexityOn = Literal["response", "all"]


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
    """How bands are measured."""

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
    choice: Choice,
    perplexities: FloatArray,
    is_open: BoolArray,
    last: int,
    temperature: float,
    generator: np.random.Generator,
) -> int:
    """The schedule whose band is taught; of equal ones the first.

    Args:
        choice: The rule.
        perplexities: [n] perplexity of every schedule's band; only those of open schedules are read.
        is_open: [n] true where a schedule has a band left.
        last: The schedule chosen before, -1 for none.
        temperature: Of ``softmax``, in units of perplexity.
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
    odds = np.where(finite, np.exp(-(found - found.min()) / temperature), 0.0)
    return int(generator.choice(open_ones, p=odds / odds.sum()))
