"""A scripted language model with known losses, and a reference implementation of CAMPUS's scheduler on plain lists."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from lit_curriculum import (
    MTLD,
    CampusPolicy,
    ConversationNLL,
    DifficultyTable,
    LearnedMetric,
    LearnedScorer,
    Length,
    NegativeLogLikelihood,
    ScoringEngine,
    StagePlanner,
)
from lit_curriculum.difficulty.engine import Scores
from lit_curriculum.difficulty.learned import UpdateCost
from lit_curriculum.types import Batch, ExampleStore, FloatArray, IntArray, TokenNLL
from tests.conftest import ListStore, make_example

Losses = Callable[[int, int], float]


def campus_store(num: int = 60) -> ListStore:
    """Examples of different lengths, a few without a response."""
    return ListStore([make_example(i, "" if i % 29 == 28 else "x" * (1 + i * 7 % 13), f"q{i}") for i in range(num)])


def on_grid(value: float) -> float:
    """Rounded to what any arithmetic has exactly, so that ties occur and stay ties."""
    return round(value * 128) / 128


def scripted_losses(store: ListStore) -> Losses:
    """(example, stage) -> mean loss; it falls at a rate of the example's own, so that orders change."""
    counts = store.num_scored("conditioned")

    def loss(index: int, stage: int) -> float:
        if counts[index] == 0:
            return math.nan
        start = 0.5 + ((index * 37) % 23) / 10
        return on_grid(start * (0.75 + 0.2 * ((index * 11) % 5) / 5) ** stage)

    return loss


def scripted_losses_of_all_tokens(store: ListStore) -> Losses:
    """(example, stage) -> mean loss of prompt and response together, known for those without a response too."""

    def loss(index: int, stage: int) -> float:
        return on_grid((0.4 + ((index * 29) % 17) / 9) * 0.9 ** (stage * (index % 3)))

    return loss


def scripted_scorer(index: int, stage: int) -> float:
    """(example, stage) -> score of the learned metric, which follows stages too."""
    return ((index * 17 + stage * 5 * (index % 7)) % 31) / 10


class ScriptedModel:
    """A language model of known losses: every token of an example has the example's own loss of the stage."""

    def __init__(self, store: ListStore) -> None:
        self.losses, self.all_losses = scripted_losses(store), scripted_losses_of_all_tokens(store)
        self.stage = 0

    def token_nll(self, batch: Batch, /) -> TokenNLL:
        row = batch.scored.nonzero()[:, 0]
        whole = batch.scored.sum(dim=1) == batch.attention_mask.sum(dim=1) - 1
        values = [
            (self.all_losses if everything else self.losses)(index, self.stage)
            for index, everything in zip(batch.index.tolist(), whole.tolist(), strict=True)
        ]
        return TokenNLL(torch.tensor(values)[row], row, torch.zeros(len(row), dtype=torch.bool))


class ScriptedMTLD(MTLD):
    """Scores by index."""

    def score(self, examples: ExampleStore) -> FloatArray:
        return ((np.arange(len(examples)) * 13) % 19).astype(float)


class ScriptedScorer(LearnedScorer):
    """Due at every stage; the run scripts its scores."""

    def extra_candidates(self, asked: IntArray, num_examples: int, stage: int, generator: Any) -> IntArray:
        return asked[:0]


class ScriptedRun:
    """The loop around a policy: text metrics once, a scripted model's losses of the candidates, and the learned
    metric at each stage.
    """

    def __init__(self, policy: CampusPolicy, num: int = 60, num_stages: int = 200, seed: int = 3) -> None:
        self.policy, self.store = policy, campus_store(num)
        self.model = ScriptedModel(self.store)
        losses = {"loss": NegativeLogLikelihood(), "loss_all": ConversationNLL()}
        self.engine = ScoringEngine(losses, token_budget=200)
        texts = {"length": Length(field="both"), "mtld": ScriptedMTLD()}
        self.planner = StagePlanner(policy, {**texts, **losses, "scorer": ScriptedScorer()}, seed)
        self.planner.setup(self.store, num_stages)
        self.planner.score_texts()
        self.asked: list[list[int]] = []

    @property
    def table(self) -> DifficultyTable:
        return self.planner.table

    def _score(self, indices: IntArray, stage: int) -> Scores:
        self.model.stage = stage
        return self.engine.score(self.model, self.store, indices)

    def _update(self, name: str, metric: LearnedMetric, stage: int, generator: Any) -> tuple[FloatArray, UpdateCost]:
        return np.array([scripted_scorer(i, stage) for i in range(len(self.store))]), UpdateCost()

    def stage(self, stage: int) -> dict[str, Any]:
        """One refresh; what was chosen and the state before the next."""
        report = self.planner.plan(stage, self._score, self._update)
        self.asked.append(report.candidates.tolist())
        plan, state = report.plan, self.policy.state_dict()
        return {
            "indices": plan.indices.tolist(),
            "chosen": state["decision"]["chosen"],
            "perplexities": state["decision"]["perplexities"],
            "clocks": state["schedules"]["clocks"].tolist(),
            "orders": state["schedules"]["orders"].tolist(),
            "scalars": plan.scalars,
        }

    def run(self, most: int = 1000) -> list[dict[str, Any]]:
        """Stages until the policy has finished."""
        trace: list[dict[str, Any]] = []
        while not self.planner.finished(len(trace)) and len(trace) < most:
            trace.append(self.stage(len(trace)))
        return trace


@dataclass
class ReferenceRun:
    """The scheduler again, from the description of the method alone: lists, loops and true losses."""

    metrics: list[str]
    bands: int = 10
    clock: str = "per_schedule"
    every: int = 1
    which: str = "chosen"
    scope: str = "all"
    exclude_seen: bool = False
    pool: str = "tokens"
    on: str = "response"
    count: int | None = None
    budget: int = 60
    num: int = 60
    trace: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = campus_store(self.num)
        self.loss = scripted_losses(self.store)
        self.all_losses = scripted_losses_of_all_tokens(self.store)
        self.hashes = [e.content_hash for e in self.store.examples]

    def value(self, metric: str, index: int, stage: int) -> float:
        if metric == "length":
            return float(self.store.lengths("conditioned")[index])
        if metric == "mtld":
            return float((index * 13) % 19)
        return self.loss(index, stage) if metric == "loss" else scripted_scorer(index, stage)

    def ordered(self, metric: str, examples: list[int], stage: int) -> list[int]:
        def key(i: int) -> tuple[bool, float, str]:
            value = self.value(metric, i, stage)
            return math.isnan(value), 0.0 if math.isnan(value) else value, self.hashes[i]

        return sorted(examples, key=key)

    def edges(self) -> list[int]:
        scope = [0.0, 0.01]
        for t in range(2, self.bands + 1):
            scope.append(min(1.0, math.sqrt(t * (1 - 0.01**2) / self.bands + 0.01**2)))
        return [math.floor(s * self.num + 1e-9) for s in scope[:-1]] + [self.num]

    def perplexity(self, band: list[int], stage: int) -> float:
        if self.count is not None and self.count < len(band):
            # The first, the last, and as many between them as equal gaps allow.
            band = [band[k * (len(band) - 1) // (self.count - 1)] for k in range(self.count)]
        if self.on == "all":
            # Every token of prompt and response has a loss but the very first, before which there is nothing.
            sizes = [len(self.store.encoded(i, "conditioned").input_ids) - 1 for i in band]
            known = [(self.all_losses(i, stage), size) for i, size in zip(band, sizes, strict=True)]
        else:
            counts = self.store.num_scored("conditioned")
            known = [(self.loss(i, stage), int(counts[i])) for i in band if not math.isnan(self.loss(i, stage))]
        if not known:
            return math.inf
        if self.pool == "examples":
            return math.fsum(math.exp(v) for v, _ in known) / len(known)
        return math.exp(math.fsum(v * c for v, c in known) / sum(c for _, c in known))

    def run(self, most: int = 1000) -> list[dict[str, Any]]:
        edges = self.edges()
        spans = [(lo, hi) for lo, hi in pairwise(edges) if lo < hi]
        orders = [self.ordered(m, list(range(self.num)), 0) for m in self.metrics]
        clocks = [0] * len(self.metrics)
        seen: set[int] = set()
        touched: set[int] = set()
        trained = stage = 0
        late: set[int] = set()

        def resort(k: int, at: int) -> None:
            taught_already = edges_taught(k)
            if self.scope == "all":
                orders[k] = self.ordered(self.metrics[k], orders[k], at)
            elif self.exclude_seen:
                fresh = iter(self.ordered(self.metrics[k], [i for i in orders[k] if i not in seen], at))
                orders[k] = [i if i in seen else next(fresh) for i in orders[k]]
            else:
                kept = orders[k][:taught_already]
                orders[k] = kept + self.ordered(self.metrics[k], orders[k][taught_already:], at)

        def edges_taught(k: int) -> int:
            return spans[clocks[k]][0] if clocks[k] < len(spans) else self.num

        while trained < self.budget and stage < most:
            refresh = stage > 0 and self.which != "none" and stage % self.every == 0
            late = set()
            if refresh:
                for k, metric in enumerate(self.metrics):
                    if self.which == "all_aware" or k in touched:
                        if metric == "loss":
                            resort(k, stage)
                        if metric == "scorer":
                            late.add(k)
            candidates = {}
            for k in range(len(self.metrics)):
                if clocks[k] < len(spans):
                    lo, hi = spans[clocks[k]]
                    unseen = [i for i in orders[k] if i not in seen]
                    candidates[k] = unseen[: hi - lo] if self.exclude_seen else orders[k][lo:hi]
            ppl = {k: self.perplexity(band, stage) for k, band in candidates.items()}
            chosen = min(ppl, key=lambda k: (ppl[k], k))
            band = candidates[chosen][: self.budget - trained]
            if stage % self.every == 0:
                touched = set()
            touched.add(chosen)
            trained += len(band)
            seen |= set(band)
            for k in range(len(clocks)):
                if self.clock == "shared" or k == chosen:
                    clocks[k] += 1
            over = len(seen) == self.num if self.exclude_seen else all(c >= len(spans) for c in clocks)
            if over:
                clocks, seen = [0] * len(clocks), set()
            for k in sorted(late):
                resort(k, stage)
            self.trace.append(
                {
                    "chosen": chosen,
                    "band": band,
                    "clocks": list(clocks),
                    "orders": [list(o) for o in orders],
                    "ppl": ppl,
                }
            )
            stage += 1
        return self.trace
