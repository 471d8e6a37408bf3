"""A small record of earlier stages that a monitor compares: sampled scores, and which examples were chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lit_curriculum.curriculum.ordering import content_ranks
from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.loop.planner import StageReport
from lit_curriculum.report.figures import correlation_matrix, share_matrix
from lit_curriculum.report.ledger import StageState
from lit_curriculum.report.ledger_views import drift, rank_correlation, rank_correlations, shown_stages
from lit_curriculum.types import BoolArray, FloatArray, IntArray

SAMPLE = 5000
"""Examples, the first by content hash, whose scores are compared over stages; of fewer, all."""
_TEXT = 300  # characters of an instruction or a response that are shown


class StageHistory:
    """A sample of every stage's scores, and the examples that every stage chose; small enough for checkpoints.

    Attributes:
        sample: [K] indices of the sampled examples.
        scores: Metric -> the sampled scores [K] of every stage, as float32.
        chosen: [N] true where an example was chosen, of every stage, packed into bits.
        times: [N] stages that chose each example.
    """

    def __init__(self) -> None:
        self.sample: IntArray = np.empty(0, np.int64)
        self.scores: dict[str, list[NDArray[np.float32]]] = {}
        self.chosen: list[NDArray[np.uint8]] = []
        self.times: NDArray[np.int32] = np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self.chosen)

    def add(self, report: StageReport) -> None:
        """Enter a decision; a stage that is planned again replaces the first time."""
        size = len(report.store)
        if len(self.chosen) > report.stage:
            self.chosen = self.chosen[: report.stage]
            self.scores = {m: found[: report.stage] for m, found in self.scores.items()}
            masks = [self._mask(s, len(self.times)) for s in range(report.stage)]
            self.times = np.sum(masks, axis=0, dtype=np.int32) if masks else np.zeros_like(self.times)
        if not len(self):
            self.sample = np.sort(np.argsort(content_ranks(report.store.content_hashes))[:SAMPLE])
        for metric, scores in report.table.scores.items():
            self.scores.setdefault(metric, []).append(scores[self.sample].astype(np.float32))
        chosen = report.times > 0
        self.chosen.append(np.packbits(chosen))
        self.times = np.append(self.times, np.zeros(size - len(self.times), np.int32)) + chosen.astype(np.int32)

    def _mask(self, stage: int, size: int) -> BoolArray:
        bits = np.unpackbits(self.chosen[stage])[:size].astype(np.bool_)
        return np.append(bits, np.zeros(size - len(bits), np.bool_))

    def new_share(self) -> float:
        """Share of the last stage's distinct examples that no stage before had chosen."""
        mine = self._mask(len(self) - 1, len(self.times))
        return float((self.times[mine] == 1).mean())

    def overlaps(self, stages: list[int]) -> FloatArray:
        """[S, S] share of the row's distinct examples that the column's stage chose too."""
        masks = np.stack([self._mask(s, len(self.times)) for s in stages]).astype(np.float64)
        found: FloatArray = (masks @ masks.T) / masks.sum(axis=1)[:, None]
        return found

    def drift(self, metric: str) -> tuple[float, float]:
        """Rank correlation of the last scores with those one stage before, and with the first; NaN where undefined."""
        all_of_it = self.scores[metric]
        if len(all_of_it) < 2:
            return float("nan"), float("nan")
        return rank_correlation(all_of_it[-1], all_of_it[-2]), rank_correlation(all_of_it[-1], all_of_it[0])

    def newly_hard(self, metric: str, higher_is_harder: bool) -> tuple[IntArray, float]:
        """Find the sampled examples that are among the hardest now and were not one stage before, hardest first.

        As large a share counts as hard as the stage takes of the data. Only examples with a score in both stages count.

        Returns:
            Their indices, and their share of those that are hard now; NaN before the second stage.
        """
        if len(self) < 2:
            return self.sample[:0], float("nan")
        sign = 1.0 if higher_is_harder else -1.0
        now, before = (sign * s for s in (self.scores[metric][-1], self.scores[metric][-2]))
        both = np.flatnonzero(np.isfinite(now) & np.isfinite(before))
        share = float(self._mask(len(self) - 1, len(self.times)).mean())
        size = min(len(both), max(1, round(share * len(both))))
        if not size:
            return self.sample[:0], float("nan")
        hard, was_hard = (both[np.argsort(-values[both], kind="stable")[:size]] for values in (now, before))
        new = hard[~np.isin(hard, was_hard)]
        return self.sample[new], len(new) / size

    def views(self) -> dict[str, float]:
        """Rank correlation of every two metrics now, under ``<one>~<other>``, where it is defined."""
        last = {m: found[-1] for m, found in self.scores.items()}
        found = {f"{a}~{b}": rank_correlation(last[a], last[b]) for a, b in combinations(last, 2)}
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def state(self, stage: int) -> StageState:
        """The sample as of a stage, in the form of a ledger's state."""
        place = np.where(self._mask(stage, len(self.times))[self.sample], np.arange(len(self.sample)), -1)
        nothing = np.zeros(len(self.sample), np.int32)
        return StageState(
            stage=stage, scores={m: found[stage].astype(np.float64) for m, found in self.scores.items()}, scored_at={},
            candidate=nothing.astype(np.bool_), times=nothing, place=place.astype(np.int32), reason=nothing,
            reasons=[""],
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """The whole record, as tensors."""
        return {
            "sample": torch.from_numpy(self.sample.copy()),
            "scores": {m: [torch.from_numpy(v.copy()) for v in found] for m, found in self.scores.items()},
            "chosen": [torch.from_numpy(v.copy()) for v in self.chosen],
            "times": torch.from_numpy(self.times.copy()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.sample, self.times = state["sample"].numpy().copy(), state["times"].numpy().copy()
        self.scores = {m: [v.numpy().copy() for v in found] for m, found in state["scores"].items()}
        self.chosen = [v.numpy().copy() for v in state["chosen"]]


def example_rows(
    report: StageReport, history: StageHistory, count: int
) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield tables of examples to read, by the first metric that the policy requires: tag, columns, rows."""
    kinds: dict[str, IntArray] = {}
    metric = next(iter(report.policy.required_metrics), None)
    if metric is not None:
        hardness = report.table.hardness(metric)
        known = np.flatnonzero(np.isfinite(hardness))
        ordered = known[np.argsort(-hardness[known], kind="stable")]
        kinds["hardest"], kinds["easiest"] = ordered[:count], ordered[::-1][:count]
        kinds["newly_hard"] = history.newly_hard(metric, report.metrics[metric].higher_is_harder)[0][:count]
    kinds["most_often_chosen"] = np.argsort(-history.times, kind="stable")[:count]
    columns = ["id", "instruction", "response", metric or "score", "stages"]
    for kind, indices in kinds.items():
        rows = []
        for i in indices.tolist():
            example = report.store[i]
            score = "-" if metric is None else f"{report.table.scores[metric][i]:.5g}"
            rows.append(
                [example.id, example.instruction[:_TEXT], example.response[:_TEXT], score, str(history.times[i])]
            )
        if rows:
            yield kind, columns, rows


def figures_of(history: StageHistory, metrics: Mapping[str, DifficultyMetric]) -> dict[str, Callable[[Axes], None]]:
    """Functions that draw into axes, by tag: drift and agreement of stages, agreement of metrics, shared examples."""
    states = [history.state(s) for s in shown_stages(range(len(history)))]
    names = [str(s.stage) for s in states]
    found: dict[str, Callable[[Axes], None]] = {}
    for metric in history.scores:
        columns = [s.scores[metric] for s in states]
        if len(states) > 1:
            found[f"drift/{metric}"] = partial(drift, states=states, metric=metric, unit=metrics[metric].unit)
            values = rank_correlations(columns)
            title = f"rank correlation of {metric} between stages"
            found[f"agreement_of_stages/{metric}"] = partial(
                correlation_matrix, correlations=values, names=names, label="stage", title=title
            )
    views = list(history.scores)
    if len(views) > 1:
        values = rank_correlations([states[-1].scores[m] for m in views])
        title = f"rank correlation of the metrics at stage {names[-1]}"
        found["agreement_of_views"] = partial(
            correlation_matrix, correlations=values, names=views, label="", title=title
        )
    if len(states) > 1:
        shares = history.overlaps([s.stage for s in states])
        title = "share of the row's examples that the column has too"
        found["shared_examples"] = partial(share_matrix, shares=shares, names=names, label="stage", title=title)
    return found
