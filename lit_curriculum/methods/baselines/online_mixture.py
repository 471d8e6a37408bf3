"""Online mixtures of sources from probe losses: DoReMi and Skill-It, updated at every stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from lit_curriculum.curriculum.base import OWNER, check_same_data
from lit_curriculum.curriculum.quotas import split_probes
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.source_mixture import (
    SourceMixturePolicy,
    check_sources,
    doremi_shares,
    skill_it_shares,
)
from lit_curriculum.types import CONDITIONED, ExampleStore, FloatArray, IntArray, Plan
from lit_curriculum.utils.options import check_range

Update = Literal["doremi", "skill_it"]


class OnlineMixturePolicy(SourceMixturePolicy):
    """Update the shares of sources before every stage from losses on a held-out probe.

    With n_x scored tokens of example x, l_x its loss per token and r_x that of a reference model:

    - ``doremi``: the excess of source i is lambda_i = sum_x n_x max(l_x - r_x, 0) / sum_x n_x over its probe, and
      a_i <- (1 - c) a_i exp(eta lambda_i) / sum_j (...) + c / K. The paper clips token by token, here it is example by
      example; it weighs losses by a and samples the final model's data by the mean of a over the run, which is logged
      as ``p_mean``, while here a is sampled by at once.
    - ``skill_it``: p_i in proportion to p0_i exp(eta sum over the last W stages of sum_j A_ij L_j), with L_j the loss
      of source j on its probe; the first stage takes L = 1.

    Rows are drawn as by :class:`~lit_curriculum.SourceMixturePolicy`. The initial
    shares are equal, as in both papers.

    Args:
        metric: Name of the loss in the difficulty table, in nats per token.
        update: ``doremi`` or ``skill_it``.
        reference: Name of the loss of the reference model (``doremi``).
        rate: Step size (eta); DoReMi has 1.
        smoothing: DoReMi's c, 0.001 there: no share is below c / K.
        window: Skill-It's W, in stages.
        graph: Skill-It's A, source -> {source whose loss falls by training on it: how much}; null for no links, A = 1.
        probe: Rows of each source that are kept out of training and scored before each stage.
        fraction: Entries of a stage as a share of the data; null where ``count`` is given.
        count: Entries of a stage.

    Raises:
        ValueError: an option is out of range, or does not fit the update.

    References:
        Xie et al. 2023, "DoReMi", arXiv 2305.10429, algorithm 1; Chen et al. 2023, "Skill-It!", arXiv 2307.14430,
        algorithm 1.
    """

    def __init__(
        self,
        metric: str,
        update: Update,
        reference: str | None = None,
        rate: float = 1.0,
        smoothing: float = 1e-3,
        window: int = 3,
        graph: dict[str, dict[str, float]] | None = None,
        probe: int = 64,
        fraction: float | None = 1.0,
        count: int | None = None,
    ) -> None:
        super().__init__(None, float("inf"), None, fraction, count)
        if (update == "doremi") != (reference is not None):
            raise ValueError(
                f"{OWNER}.reference names the loss of a reference model, which update=doremi needs and skill_it does "
                f"not have (got {update=}, {reference=})."
            )
        if graph is not None and update == "doremi":
            raise ValueError(f"{OWNER}.graph is of update=skill_it; doremi has none.")
        check_range(self, "(0, inf)", rate=rate)
        check_range(self, "[0, 1]", smoothing=smoothing)
        check_range(self, "[1, inf)", window=window, probe=probe)
        self.metric, self.reference, self.graph = metric, reference, graph
        self.update: Update = update
        self.rate, self.smoothing, self.window, self.probe = rate, smoothing, window, probe
        self._mixes: list[list[float]] = []
        self._losses: list[list[float]] = []

    @property
    def required_metrics(self) -> tuple[str, ...]:
        return (self.metric,) if self.reference is None else (self.metric, self.reference)

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        super().setup(examples, num_stages)
        self._tokens = examples.num_scored(CONDITIONED).astype(np.float64)
        self._graph = np.eye(len(self.sources))
        if self.graph is not None:
            check_sources("graph", self.graph, self.sources)
            for row, a in enumerate(self.sources):
                links = self.graph.get(a, {})
                check_sources(f"graph.{a}", links, self.sources)
                self._graph[row] = [links.get(b, 0.0) for b in self.sources]

    def rows_to_train(self, examples: ExampleStore, available: Mapping[str, int]) -> dict[str, IntArray]:
        self.probes, pool = split_probes(examples, self.probe, OWNER)
        return pool

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        return np.concatenate([self.probes[a] for a in self.sources])

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        if stage == 0:
            self._mixes, self._losses = [], []
        losses = table.scores[self.metric]
        means = self._means(losses)
        self._losses = [*self._losses, means.tolist()][-self.window :]
        scalars = {f"probe/{a}": float(v) for a, v in zip(self.sources, means, strict=True)}
        if self.update == "doremi":
            assert self.reference is not None
            excess = self._means(np.maximum(losses - table.scores[self.reference], 0.0))
            scalars |= {f"excess/{a}": float(v) for a, v in zip(self.sources, excess, strict=True)}
            before = np.array(self._mixes[-1]) if self._mixes else self.initial
            mix = doremi_shares(before, excess, self.rate, self.smoothing)
        else:
            window = np.array(self._losses) if stage > 0 else np.ones((1, len(self.sources)))
            mix = skill_it_shares(self.initial, self._graph, window, self.rate)
        self._mixes.append(mix.tolist())
        mean = np.mean(self._mixes, axis=0)
        scalars |= {f"p_mean/{a}": float(p) for a, p in zip(self.sources, mean, strict=True)}
        plan = self.draw(mix, generator)
        return Plan(indices=plan.indices, scalars={**plan.scalars, **scalars})

    def _means(self, values: FloatArray) -> FloatArray:
        """[K] mean per token of ``values`` [N] over the probe of each source."""
        means = []
        for a in self.sources:
            rows = self.probes[a]
            if np.isnan(values[rows]).any():
                raise ValueError(f"{OWNER}: some probe rows of source {a!r} have no score; remove empty responses.")
            means.append(np.average(values[rows], weights=self._tokens[rows]))
        return np.array(means)

    def state_dict(self) -> dict[str, Any]:
        return {"sources": list(self.sources), "mixes": self._mixes, "losses": self._losses}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_same_data("mixture", ", ".join(state["sources"]), ", ".join(self.sources))
        self._mixes = [list(mix) for mix in state["mixes"]]
        self._losses = [list(row) for row in state["losses"]]
