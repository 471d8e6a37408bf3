"""Views of a whole ledger: drift of scores, rank correlations, and examples to read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy import stats

from lit_curriculum.report.figures import BLUE, ORANGE
from lit_curriculum.report.ledger import Ledger, StageState
from lit_curriculum.report.tables import Table

MAX_STAGES = 20
"""Stages shown at most in a matrix or a row of boxes; of more, so many at equal distances."""
SHOWN = 3
"""Examples of each kind that are shown."""
TEXT = 160
"""Characters of an instruction and of a response that are shown."""


def shown_stages(stages: Sequence[int]) -> Sequence[int]:
    """The stages to show: all, or :data:`MAX_STAGES` at equal distances, first and last included."""
    if len(stages) <= MAX_STAGES:
        return stages
    return [stages[i] for i in np.linspace(0, len(stages) - 1, MAX_STAGES).round().astype(int)]


def drift(axes: Axes, states: list[StageState], metric: str, unit: str) -> None:
    """Median and quartiles of a metric before every stage, over all examples and over the chosen ones."""
    for colour, name, chosen in ((BLUE, "all examples", False), (ORANGE, "chosen", True)):
        quartiles = []
        for state in states:
            values = state.scores[metric][state.chosen] if chosen else state.scores[metric]
            values = values[np.isfinite(values)]
            quartiles.append(np.quantile(values, [0.25, 0.5, 0.75]) if len(values) else np.full(3, np.nan))
        low, middle, high = np.array(quartiles).T
        x = [state.stage for state in states]
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(x, middle, color=colour, marker=".", linestyle="-" if chosen else "--", label=name)
    axes.set_xlabel("stage")
    axes.set_ylabel(f"{metric} ({unit})")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=8)


def rank_correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Spearman's of two [N], over examples with both scores; NaN below three or where either is constant."""
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 3 or np.ptp(one[both]) == 0 or np.ptp(other[both]) == 0:
        return float("nan")
    return float(stats.spearmanr(one[both], other[both]).statistic)


def rank_correlations(columns: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """[K, K] :func:`rank_correlation` of every two columns."""
    found = np.full((len(columns), len(columns)), np.nan)
    for i, j in combinations_with_replacement(range(len(columns)), 2):
        found[i, j] = found[j, i] = rank_correlation(columns[i], columns[j])
    return found


def most_alive(ledger: Ledger) -> str | None:
    """The first metric that the policy reads and that was scored again later on; else the first one; or none."""
    last = ledger.state(ledger.stages[-1])
    again = [m for m in ledger.info["required_metrics"] if last.scored_at[m].max(initial=-1) > ledger.stages[0]]
    return next(iter([*again, *ledger.info["required_metrics"]]), None)


def newly_hard(states: list[StageState], metric: str, higher_is_harder: bool) -> NDArray[np.int64]:
    """Among the last stage's hardest, as many as it trains on, those not among the first stage's, hardest first.

    Examples count that both stages have a fresh score of.
    """
    first, last = states[0], states[-1]
    sign = 1.0 if higher_is_harder else -1.0
    before = np.full(len(last.scores[metric]), np.nan)
    before[: len(first.scores[metric])] = first.scores[metric]
    both = np.flatnonzero(np.isfinite(before) & (last.scored_at[metric] == last.stage))
    size = min(len(last.chosen), len(both))
    now_hard = both[np.argsort(-sign * last.scores[metric][both], kind="stable")[:size]]
    was_hard = both[np.argsort(-sign * before[both], kind="stable")[:size]]
    return now_hard[~np.isin(now_hard, was_hard)]


def examples_table(ledger: Ledger, metric: str) -> Table:
    """Examples to read: hardest and easiest at the end, newly hard, most often trained on."""
    states = list(ledger.states([ledger.stages[0], ledger.stages[-1]]))
    score, times = states[-1].scores[metric], ledger.times_trained()
    described = ledger.info["metrics"][metric]
    known = np.flatnonzero(np.isfinite(score))
    order = known[np.argsort(-score[known] if described["higher_is_harder"] else score[known], kind="stable")]
    kinds = {
        "hardest": order[:SHOWN],
        "easiest": order[::-1][:SHOWN],
        "newly hard": newly_hard(states, metric, described["higher_is_harder"])[:SHOWN],
        "most often trained on": np.argsort(-times, kind="stable")[:SHOWN],
    }
    texts = ledger.examples(["id", "instruction", "response"]).to_pylist()
    rows = [
        [
            kind,
            texts[i]["id"],
            _cut(texts[i]["instruction"]),
            _cut(texts[i]["response"]),
            f"{score[i]:.4g}",
            str(times[i]),
        ]
        for kind, indices in kinds.items()
        for i in indices.tolist()
    ]
    note = (
        f"By {metric} ({described['formula']}, {described['unit']}) as of the last decision; newly hard are examples "
        "that were not among as many hardest before the first stage. Texts are cut."
    )
    columns = ["which", "id", "instruction", "response", metric, "times trained"]
    return Table("examples", "Examples", columns, rows, note)


USAGE = ("never trained on", "once", "twice or more", "at most", "left out before")
"""Columns of :func:`usage`."""


def usage(ledger: Ledger) -> list[str]:
    """How the data were used: cells under :data:`USAGE`."""
    times = ledger.times_trained()
    dropped = sum(row["action"] == "skip" for row in ledger.dropped().to_pylist())
    counts = [int((times == 0).sum()), int((times == 1).sum()), int((times > 1).sum())]
    return [*(f"{c:,}" for c in counts), f"{int(times.max(initial=0))} times", f"{dropped:,} records"]


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TEXT else line[: TEXT - 1] + "…"
