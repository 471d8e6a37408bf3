"""How well each metric follows the truth: rank correlations, pairs and areas, raw and with length controlled for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm, pearsonr, rankdata, spearmanr
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from experiments.ablation import t_interval
from experiments.common import Row
from experiments.true_difficulty.sources import TrueRow
from lit_curriculum.types import FloatArray, IntArray

LENGTHS = ("length_instruction", "length_response")
Statistic = Callable[[IntArray], float]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A statistic with its interval: by bootstrap over rows, or by t over seeds."""

    value: float
    low: float
    high: float
    n: int
    of: Literal["rows", "seeds"] = "rows"


def partial_spearman(score: FloatArray, truth: FloatArray, controls: FloatArray) -> float:
    """Correlation of what a linear fit on the ranks of [N, C] controls leaves of the ranks of [N] score and truth.

    Ranks of a length are those of its logarithm. NaN where the controls leave nothing.
    """
    design = np.column_stack([np.ones(len(score)), *(rankdata(c) for c in controls.T)])
    left = []
    for values in (score, truth):
        ranks = rankdata(values)
        fitted = design @ np.linalg.lstsq(design, ranks, rcond=None)[0]
        left.append(ranks - fitted)
        if np.linalg.norm(left[-1]) < 1e-6 * np.linalg.norm(ranks):
            return float("nan")
    return float(pearsonr(left[0], left[1]).statistic)


def bootstrap(statistic: Statistic, groups: Sequence[str], num_resamples: int, seed: int = 0) -> Measured:
    """``statistic`` of all rows, and its 95 % interval over draws of whole groups."""
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(codes == k) for k in range(len(names))]
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))]))
        for _ in range(num_resamples)
    ]
    finite = [v for v in drawn if np.isfinite(v)]
    low, high = np.percentile(finite, [2.5, 97.5]) if finite else (float("nan"), float("nan"))
    return Measured(value=statistic(np.arange(len(groups))), low=float(low), high=float(high), n=len(groups))


def correlations(
    rows: Sequence[TrueRow], scores: Mapping[str, FloatArray], num_resamples: int
) -> dict[str, dict[str, Measured]]:
    """Of every metric Spearman's ``rho`` with the truth, ``partial`` rho beyond the lengths, and ``pairs`` in order.

    Args:
        rows: With their truth; ``pairs`` only where rows name a parent: the share whose score exceeds the parent's,
            ties counted half.
        scores: Metric -> [N], more is harder; rows without a score are left out.
        num_resamples: Bootstrap draws.
    """
    truth = np.array([r.truth for r in rows])
    place = {r.id: k for k, r in enumerate(rows)}
    parents = np.array([place.get(r.parent or "", -1) for r in rows])
    lengths = np.column_stack([scores[name] for name in LENGTHS])
    found: dict[str, dict[str, Measured]] = {}
    for name, score in scores.items():
        known = np.flatnonzero(np.isfinite(score))
        groups = [rows[k].group for k in known]
        s, t, c = score[known], truth[known], lengths[known]
        found[name] = {"rho": bootstrap(lambda i, s=s, t=t: _rho(s[i], t[i]), groups, num_resamples)}  # type: ignore[misc]
        if name not in LENGTHS:
            found[name]["partial"] = bootstrap(
                lambda i, s=s, t=t, c=c: partial_spearman(s[i], t[i], c[i]),  # type: ignore[misc]
                groups, num_resamples,
            )  # fmt: skip
        children = np.array([k for k in known if parents[k] >= 0 and np.isfinite(score[parents[k]])], dtype=np.int64)
        if len(children):
            ahead = np.sign(score[children] - score[parents[children]])
            of = [rows[k].group for k in children]
            found[name]["pairs"] = bootstrap(lambda i, a=ahead: float(((a[i] + 1) / 2).mean()), of, num_resamples)  # type: ignore[misc]
    return found


def areas(
    rows: Sequence[TrueRow], scores: Mapping[str, FloatArray], num_resamples: int, against: str = "length_response"
) -> dict[str, dict[str, Measured]]:
    """Of every metric the ``auc`` for the truth in {0, 1}, its ``gain`` over a length's, and ``partial`` rho.

    The gain compares how far each is from 0.5, whatever its sign, on the same draws.
    """
    truth = np.array([r.truth for r in rows])
    groups = [r.group for r in rows]
    lengths = np.column_stack([scores[name] for name in LENGTHS])
    found: dict[str, dict[str, Measured]] = {}
    for name, score in scores.items():
        known = np.isfinite(score)
        filled = np.where(known, score, np.median(score[known]))  # in the middle of the order, where it says nothing

        def auc(i: IntArray, s: FloatArray = filled) -> float:
            return float(roc_auc_score(truth[i], s[i])) if np.ptp(truth[i]) > 0 else float("nan")

        def gain(i: IntArray, s: FloatArray = filled) -> float:
            return abs(auc(i, s) - 0.5) - abs(auc(i, scores[against]) - 0.5)

        found[name] = {"auc": bootstrap(auc, groups, num_resamples)}
        if name != against:
            found[name]["gain"] = bootstrap(gain, groups, num_resamples)
        if name not in LENGTHS:
            found[name]["partial"] = bootstrap(
                lambda i, s=filled: partial_spearman(s[i], truth[i], lengths[i]),  # type: ignore[misc]
                groups, num_resamples,
            )  # fmt: skip
    return found


def over_seeds(found: Sequence[Mapping[str, Mapping[str, Measured]]]) -> dict[str, dict[str, Measured]]:
    """Means over seeds with their t intervals; a statistic that a seed has not is left without a value."""
    pooled: dict[str, dict[str, Measured]] = {}
    for name, kinds in found[0].items():
        for kind in kinds:
            values = np.array([one[name][kind].value for one in found])
            low, high = t_interval(values.tolist()) if len(values) > 1 else (float("nan"), float("nan"))
            measured = Measured(value=float(values.mean()), low=low, high=high, n=len(values), of="seeds")
            pooled.setdefault(name, {})[kind] = measured
    return pooled


def holm(found: Mapping[str, Mapping[str, Measured]]) -> dict[str, bool]:
    """Metric -> whether its partial correlation differs from none at 5 %, Holm's method over the source's metrics.

    The standard error is that of the interval, as if it were normal; one over few seeds is wider, so it takes more.
    """
    names = [n for n, f in found.items() if "partial" in f and np.isfinite(f["partial"].value)]
    errors = [max((found[n]["partial"].high - found[n]["partial"].low) / 3.92, 1e-9) for n in names]
    p = [2 * float(norm.sf(abs(found[n]["partial"].value) / e)) for n, e in zip(names, errors, strict=True)]
    return dict(zip(names, multipletests(p, 0.05, "holm")[0].tolist(), strict=True)) if names else {}


def results(source: str, found: Mapping[str, Mapping[str, Measured]]) -> list[Row]:
    """Rows of the results file."""
    units = {"rho": "Spearman", "partial": "Spearman, lengths controlled", "pairs": "share", "auc": "AUC",
             "gain": "AUC over length's"}  # fmt: skip
    return [
        {"name": f"{source}/{name}: {kind}", "value": m.value, "unit": units[kind], "low": m.low, "high": m.high,
         "n": m.n}
        for name, kinds in found.items() for kind, m in kinds.items()
    ]  # fmt: skip


def markdown(found: Mapping[str, Mapping[str, Mapping[str, Measured]]]) -> str:
    """One table a source."""
    parts = []
    for source, metrics in found.items():
        kinds = list(dict.fromkeys(k for m in metrics.values() for k in m))
        sure = holm(metrics)
        largest = max((next(iter(m.values())) for m in metrics.values()), key=lambda m: m.n)
        lines = [f"## {source} ({largest.n} {largest.of})", ""]
        lines += ["| metric | " + " | ".join(kinds) + " | partial survives Holm |"]
        lines += ["| --- |" + " --- |" * (len(kinds) + 1)]
        for name, measured in metrics.items():
            cells = [_cell(measured[k]) if k in measured else "" for k in kinds]
            significant = "" if name not in sure else "yes" if sure[name] else "no"
            lines.append("| " + " | ".join([name, *cells, significant]) + " |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _cell(m: Measured) -> str:
    return f"{m.value:.2f} [{m.low:.2f}, {m.high:.2f}]"


def _rho(score: FloatArray, truth: FloatArray) -> float:
    return float(spearmanr(score, truth).statistic) if np.ptp(score) > 0 and np.ptp(truth) > 0 else float("nan")
