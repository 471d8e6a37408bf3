"""What a monitor shows of a decision: scalars, tables of examples, figures, and how TensorBoard lays them out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from lit_curriculum.callbacks.log_sinks import Layout
from lit_curriculum.callbacks.monitor_history import StageHistory
from lit_curriculum.callbacks.observer import StageReport
from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.report.figures import correlation_matrix, share_matrix
from lit_curriculum.report.ledger_views import drift, rank_correlations, shown_stages
from lit_curriculum.types import ExampleStore, IntArray

_TEXT = 300
LAYOUT: Layout = {
    "Learning": {
        "loss": ("Multiline", ["train/loss", "val/loss"]),
        "accuracy by ability": ("Multiline", ["val/accuracy.*"]),
        "loss by ability": ("Multiline", ["val/nll.*"]),
    },
    "What is chosen": {
        "examples": ("Multiline", ["curriculum/(selected|candidates|eligible)"]),
        "turnover": ("Multiline", ["curriculum/overlap", "turnover/.*"]),
        "schedules": ("Multiline", ["curriculum/clock/.*"]),
        "perplexity of the bands": ("Multiline", ["curriculum/perplexity/.*"]),
        "mixture": ("Multiline", ["curriculum/p_mix/.*"]),
    },
    "What it costs": {
        "seconds": ("Multiline", ["cost/.*_seconds"]),
        "share of refreshes": ("Multiline", ["cost/refresh_share"]),
        "share of the machine's limit": ("Multiline", ["machine/.*_share_of_limit"]),
    },
}
"""Category -> chart -> kind and tags, which are regular expressions."""


def layout_of(metrics: Iterable[str], tags: Set[str]) -> Layout:
    """:data:`LAYOUT` and the charts of every metric, without those that none of ``tags`` would fill."""
    everything = {**LAYOUT, **_difficulty_layout(metrics)}
    found = {
        category: {
            name: chart for name, chart in charts.items() if any(re.fullmatch(p, t) for p in chart[1] for t in tags)
        }
        for category, charts in everything.items()
    }
    return {category: charts for category, charts in found.items() if charts}


def _difficulty_layout(metrics: Iterable[str]) -> Layout:
    """Quartiles by stage, difficulty of what is trained on, agreement."""
    charts: dict[str, tuple[str, list[str]]] = {
        f"{m}: median and quartiles": ("Margin", [f"drift/{m}/{q}" for q in ("median", "lower", "upper")])
        for m in metrics
    }
    charts["of the batches trained on"] = ("Multiline", ["training/difficulty/.*"])
    charts["rank correlation with earlier stages"] = ("Multiline", ["drift/.*/with_.*"])
    charts["rank correlation of views"] = ("Multiline", ["views/.*"])
    return {"Difficulty": charts}


def plan_scalars(report: StageReport, history: StageHistory) -> dict[str, float]:
    """All scalars of a decision, under the tags of the log; those that are not defined are left out."""
    learning = report.learning
    found = {
        **report.plan.scalars,
        **learning.scalars,
        "stage": float(report.stage),
        "selected": float(len(report.plan)),
        "candidates": float(len(report.candidates)),
        "scored_tokens": float(report.scored_tokens),
        "scoring_seconds": report.scoring_seconds,
        "selecting_seconds": report.selecting_seconds,
        "refresh_seconds": report.scoring_seconds + report.selecting_seconds + learning.seconds,
        "overlap": report.overlap,
    }
    if learning.seconds:
        found["learning_seconds"] = learning.seconds
        found["learning_forward_tokens"] = float(learning.forward_tokens)
        found["generated_tokens"] = float(learning.generated_tokens)
    found = {f"curriculum/{name}": float(value) for name, value in found.items()}
    found["turnover/new"] = history.new_share()
    found |= {f"views/{pair}": value for pair, value in history.views().items()}
    for metric, scores in report.table.scores.items():
        known, chosen = scores[np.isfinite(scores)], scores[np.unique(report.plan.indices)]
        if len(known):
            points = np.quantile(known, [0.25, 0.5, 0.75]).tolist()
            found |= {f"drift/{metric}/{q}": v for q, v in zip(("lower", "median", "upper"), points, strict=True)}
        if np.isfinite(chosen).any():
            found[f"drift/{metric}/selected_median"] = float(np.nanmedian(chosen))
        last, first = history.drift(metric)
        found |= {f"drift/{metric}/with_last": last, f"drift/{metric}/with_first": first}
        harder = report.metrics[metric].higher_is_harder
        found[f"turnover/newly_hard/{metric}"] = history.newly_hard(metric, harder)[1]
    return {tag: value for tag, value in found.items() if np.isfinite(value)}


def example_rows(
    report: StageReport, history: StageHistory, store: ExampleStore, count: int
) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Tables of examples to read by the first metric that the policy reads: tag, columns, rows."""
    kinds: dict[str, IntArray] = {}
    metric = next(iter(report.policy.reads), None)
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
            example = store[i]
            score = "-" if metric is None else f"{report.table.scores[metric][i]:.5g}"
            rows.append(
                [example.id, example.instruction[:_TEXT], example.response[:_TEXT], score, str(history.times[i])]
            )
        if rows:
            yield kind, columns, rows


def figures_of(history: StageHistory, metrics: Mapping[str, DifficultyMetric]) -> dict[str, Callable[[Axes], None]]:
    """Tag -> what draws it: drift and agreement of stages for each metric, agreement of views, shared examples."""
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
