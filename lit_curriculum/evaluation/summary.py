"""Summary of results by task, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
from scipy import stats

from lit_curriculum.evaluation.ability_scores import ability_scores
from lit_curriculum.evaluation.items import EvalItem, ItemResult
from lit_curriculum.types import FloatArray

T = TypeVar("T")


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


def wilson_interval(num_correct: int, num_items: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; it keeps within [0, 1] and is sound for few items.

    References:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    found = stats.binomtest(num_correct, num_items).proportion_ci(confidence, method="wilson")
    return Interval(float(found.low), float(found.high))


def mean_interval(values: FloatArray, confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of the mean over items.

    Args:
        values: [N] one number an item.
        confidence: Share of the resamples' means within the interval.
        resamples: How many times N items are drawn with replacement.
        seed: Of the draws.
    """
    if len(values) < 2 or float(np.ptp(values)) == 0.0:
        return Interval(float(np.min(values)), float(np.max(values)))
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=resamples, confidence_level=confidence, method="percentile", vectorized=True,
        rng=np.random.default_rng(seed), batch=max(1, 4_000_000 // len(values)),
    ).confidence_interval  # fmt: skip
    return Interval(float(found.low), float(found.high))


def score_interval(values: FloatArray, confidence: float = 0.95) -> Interval:
    """Wilson's interval of ``values`` [N] where every item is right or wrong, else the bootstrap of the mean."""
    if np.isin(values, (0.0, 1.0)).all():
        return wilson_interval(int(values.sum()), len(values), confidence)
    return mean_interval(values, confidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    """What a model reaches on one task."""

    task: str
    num_items: int
    score: float
    """Mean over items, in [0, 1]."""
    interval: Interval
    """95 %: Wilson's where items are right or wrong, else a bootstrap over items."""
    chance: float
    """Mean chance of the items."""
    kappa: float
    """(score - chance) / (1 - chance)."""
    nll: float
    """Mean loss of the gold answers in nats per token; NaN where it was not taken."""
    extra: dict[str, float] = field(default_factory=dict)
    """Further measures by name."""


def shard(items: Sequence[T], rank: int, world_size: int) -> Sequence[T]:
    """The items of one rank: every one goes to exactly one rank, and none is repeated to even out the ranks.

    A sampler that pads its last round would count some items of a task of a hundred twice.
    """
    return items[rank::world_size]


def summarise(results: Sequence[ItemResult]) -> list[TaskScore]:
    """One row a task, in the order in which tasks first occur."""
    columns = np.array([(r.score, r.nll_sum, r.num_tokens, r.item.chance) for r in results], dtype=np.float64)
    scores = ability_scores([r.item.task for r in results], *columns.reshape(-1, 4).T)
    out = []
    for task, of in scores.items():
        own = [r for r in results if r.item.task == task]
        values = np.array([r.score for r in own], dtype=np.float64)
        names = list(dict.fromkeys(name for r in own for name in r.extra))
        parts = {name: np.sum([r.extra[name] for r in own if name in r.extra], axis=0) for name in names}
        out.append(
            TaskScore(
                task=task, num_items=len(own), score=of["accuracy"], interval=score_interval(values),
                chance=of["chance"], kappa=of["kappa"], nll=of["nll"],
                extra={name: float(part[0] / part[1]) for name, part in parts.items()},
            )
        )  # fmt: skip
    return out


def item_line(result: ItemResult) -> dict[str, Any]:
    """What is written about one item, as plain values."""
    item = result.item
    nll = result.nll_sum / result.num_tokens if result.num_tokens else None
    return {
        "id": item.id, "task": item.task, "kind": item.kind, "score": result.score, "chance": item.chance,
        "gold": item.gold if item.gold_index is None else item.gold_index, "answer": result.answer,
        "reason": result.reason, "nll": nll, "nll_sum": result.nll_sum, "num_tokens": result.num_tokens,
        "source": item.source, "extra": {name: list(pair) for name, pair in result.extra.items()},
    }  # fmt: skip


def result_of(line: Mapping[str, Any]) -> ItemResult:
    """A result from its line: what :func:`summarise` needs, and nothing of the question itself."""
    item = EvalItem(id=line["id"], task=line["task"], kind="nll", prompt="", chance=line["chance"])
    extra = {name: (pair[0], pair[1]) for name, pair in line["extra"].items()}
    return ItemResult(
        item=item, score=line["score"], nll_sum=line["nll_sum"], num_tokens=line["num_tokens"], extra=extra
    )
