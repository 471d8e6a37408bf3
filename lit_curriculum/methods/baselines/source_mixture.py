"""Sources in fixed shares, given or by temperature, and updates of shares (DoReMi, Skill-It)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lit_curriculum.curriculum.base import OWNER, CurriculumPolicy, check_size, resolve_count
from lit_curriculum.curriculum.quotas import choose_rows, count_abilities
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import ExampleStore, FloatArray, IntArray, Plan
from lit_curriculum.utils.options import check_range


class SourceMixturePolicy(CurriculumPolicy):
    """Draw from every source in its share at each stage, in random order; a source is an ability.

    Within a source examples are drawn without replacement, and over again where a stage wants more than there are.
    Examples without an ability are never trained on, and their number is logged.

    Args:
        shares: Share of each source; they are scaled to sum to 1, and sources not named are left out. Null for shares
            by temperature.
        temperature: p_i in proportion to n_i^(1 / T), n_i being the examples of the source: 1 keeps the proportions of
            the data, the larger the more equal.
        cap: Size from which on a source counts no further for its share.
        fraction: Entries of a stage as a share of the data; null where ``count`` is given.
        count: Entries of a stage.

    Raises:
        ValueError: an option is out of range or names a source that there is not.
    """

    def __init__(
        self,
        shares: dict[str, float] | None = None,
        temperature: float = 1.0,
        cap: int | None = None,
        fraction: float | None = 1.0,
        count: int | None = None,
    ) -> None:
        check_size(fraction=fraction, count=count)
        if shares is not None and (min(shares.values(), default=0.0) < 0.0 or sum(shares.values()) <= 0.0):
            raise ValueError(f"{OWNER}.shares must be at least 0 and not all 0, got {shares}.")
        check_range(self, "(0, inf]", temperature=temperature)
        check_range(self, "[1, inf)", cap=cap)
        self.shares, self.temperature, self.cap = shares, temperature, cap
        self.fraction, self.count = fraction, count

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        available = count_abilities(examples.abilities)
        if len(available) < 2:
            raise ValueError(
                f"{OWNER}: {type(self).__name__} mixes sources, but the data have {len(available)} abilities; give "
                "records a field ability."
            )
        self._without_source = len(examples) - sum(available.values())
        self._size = resolve_count(len(examples), fraction=self.fraction, count=self.count)
        self.pool = self.rows_to_train(examples, available)
        self.sources = sorted(self.pool)
        if self.shares is None:
            sizes = [len(self.pool[a]) for a in self.sources]
            self.initial: FloatArray = temperature_shares(sizes, self.temperature, self.cap)
        else:
            check_sources("shares", self.shares, self.sources)
            given = np.array([self.shares.get(a, 0.0) for a in self.sources])
            self.initial = given / given.sum()

    def rows_to_train(self, examples: ExampleStore, available: Mapping[str, int]) -> dict[str, IntArray]:
        """Indices of the examples of each source that may be trained on."""
        return choose_rows(examples.abilities, examples.content_hashes, available, "nested", 0)

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        return [resolve_count(num_examples, fraction=self.fraction, count=self.count)] * num_stages

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        return self.draw(self.initial, generator)

    def draw(self, shares: FloatArray, generator: np.random.Generator) -> Plan:
        """A stage with the sources in ``shares`` [K]."""
        drawn = []
        for a, count in zip(self.sources, apportion(shares, self._size).tolist(), strict=True):
            passes = -(-count // len(self.pool[a]))
            rows = [generator.permutation(self.pool[a]) for _ in range(passes)]
            drawn.append(np.concatenate([*rows, self.pool[a][:0]])[:count])
        scalars = {f"p_mix/{a}": float(p) for a, p in zip(self.sources, shares, strict=True)}
        scalars["without_source"] = float(self._without_source)
        return Plan(indices=generator.permutation(np.concatenate(drawn)), scalars=scalars)


def check_sources(option: str, named: Mapping[str, object], sources: Sequence[str]) -> None:
    """Refuse a source that the data do not have.

    Raises:
        ValueError: names it.
    """
    unknown = sorted(set(named) - set(sources))
    if unknown:
        raise ValueError(f"{OWNER}.{option} names {unknown[0]!r}, the data have {', '.join(sources)}; correct it.")


def temperature_shares(sizes: Sequence[int], temperature: float, cap: int | None = None) -> FloatArray:
    """Shares p_i [K] in proportion to min(n_i, cap)^(1 / T).

    T = 1 keeps the proportions of the data, infinity gives equal shares.

    Args:
        sizes: [K] examples of each source (n_i), all above 0.
        temperature: T, above 0.
        cap: Size from which on a source counts no further, or none.

    References:
        Raffel et al. 2020, arXiv 1910.10683, section 3.5.2 (there with an artificial limit K for ``cap``).
    """
    counted = np.minimum(sizes, np.inf if cap is None else cap)
    powers = np.log(counted) / temperature
    return _softmax(powers)


def doremi_shares(shares: FloatArray, excess: FloatArray, rate: float, smoothing: float) -> FloatArray:
    """[K] shares after a step of exponentiated gradient ascent on the excess losses.

        a'_i = a_i exp(eta lambda_i),   a_i = (1 - c) a'_i / sum_j a'_j + c / K

    Args:
        shares: [K] shares so far (a), all above 0.
        excess: [K] excess losses (lambda), not negative.
        rate: eta.
        smoothing: c, in [0, 1]: every share is at least c / K.

    References:
        Xie et al. 2023, "DoReMi", arXiv 2305.10429, algorithm 1.
    """
    raised = _softmax(np.log(shares) + rate * excess)
    return (1.0 - smoothing) * raised + smoothing / len(shares)


def skill_it_shares(initial: FloatArray, graph: FloatArray, losses: FloatArray, rate: float) -> FloatArray:
    """[K] shares p_i in proportion to p0_i exp(eta sum_t sum_j A_ij L_j(t)) over the latest losses.

    Args:
        initial: [K] shares at the beginning (p0).
        graph: [K, K] skill graph (A): how much training on i lowers the loss of j.
        losses: [W, K] latest losses of each source (L), one row a stage.
        rate: eta.

    References:
        Chen et al. 2023, "Skill-It!", arXiv 2307.14430, algorithm 1.
    """
    return _softmax(np.log(initial) + rate * graph @ losses.sum(axis=0))


def apportion(shares: FloatArray, total: int) -> IntArray:
    """[K] whole numbers that sum to ``total``, by largest remainder; equal remainders in the order given."""
    exact = shares * total
    counts = np.floor(exact + 1e-9).astype(np.int64)
    left = total - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:left]] += 1
    return counts


def _softmax(values: FloatArray) -> FloatArray:
    raised = np.exp(values - values.max())
    shares: FloatArray = raised / raised.sum()
    return shares
