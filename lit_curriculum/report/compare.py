"""Group comparable runs and test their differences, paired by seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from lit_curriculum.report.runs import Run

BUDGET_TOLERANCE = 0.01
"""Two runs trained on the same number of examples if the counts differ by at most this share."""
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Comparable:
    """Runs of one model on the same data, validated on the same data, with the same budget of examples."""

    runs: tuple[Run, ...]
    labels: tuple[str, ...]

    @property
    def conditions(self) -> dict[str, list[Run]]:
        """Label -> its runs, in the order of their seeds."""
        found: dict[str, list[Run]] = {}
        for label, run in sorted(zip(self.labels, self.runs, strict=True), key=lambda pair: pair[1].seed):
            found.setdefault(label, []).append(run)
        return {label: found[label] for label in dict.fromkeys(self.labels)}


def _key(run: Run) -> tuple[object, ...]:
    data, model = run.card["data"], run.card["model"]
    return (data["hash"], data["validation_hash"], model["class"], model["source"], model["parameters"])


def group_comparable(runs: Sequence[Run], labels: Sequence[str]) -> tuple[list[Comparable], list[str]]:
    """Group comparable runs, and describe what separates the groups.

    Returns:
        The groups, in the order of their first runs, and one sentence for each reason why there are several.
    """
    groups: list[list[int]] = []
    for place, run in enumerate(runs):
        for group in groups:
            first = runs[group[0]]
            near = abs(run.examples - first.examples) <= BUDGET_TOLERANCE * max(run.examples, first.examples)
            if _key(run) == _key(first) and near:
                group.append(place)
                break
        else:
            groups.append([place])
    found = [Comparable(tuple(runs[i] for i in g), tuple(labels[i] for i in g)) for g in groups]
    return found, [_difference(found[0].runs[0], g.runs[0], number) for number, g in enumerate(found[1:], start=2)]


def _difference(first: Run, other: Run, number: int) -> str:
    reasons = []
    names = ("training data", "validation data", "class of model", "source of weights", "number of weights")
    reasons += [f"other {name}" for name, a, b in zip(names, _key(first), _key(other), strict=True) if a != b]
    if not reasons:
        reasons.append(f"another budget ({other.examples:,} examples against {first.examples:,})")
    return f"Group {number} is not compared with group 1: {', '.join(reasons)}."


@dataclass(frozen=True, slots=True)
class Difference:
    """A condition's final measure minus the control's, paired by seed."""

    label: str
    control: str
    mean: float
    low: float
    """Lower end of the 95 % t interval over seeds; NaN with fewer than two pairs."""
    high: float
    pairs: int
    p_value: float
    """Of a paired t-test, corrected for the number of conditions (Benjamini and Hochberg); NaN without an interval."""

    @property
    def detected(self) -> bool:
        """Whether the corrected test separates the condition from the control."""
        return bool(self.p_value < 1 - CONFIDENCE)


def compare(group: Comparable, control: str, measure: str) -> list[Difference]:
    """Compare every condition of a group with the control, by the final value of ``measure``."""
    found: list[tuple[str, np.ndarray]] = []
    base = {run.seed: run.final(measure) for run in group.conditions[control]}
    for label, runs in group.conditions.items():
        if label != control:
            pairs = [run.final(measure) - base[run.seed] for run in runs if run.seed in base]
            found.append((label, np.array([d for d in pairs if np.isfinite(d)])))
    tests = [stats.ttest_1samp(d, 0.0) if _testable(d) else None for _, d in found]
    known = [float(t.pvalue) for t in tests if t is not None]
    corrected: Iterator[float] = iter(stats.false_discovery_control(known) if known else [])
    differences = []
    for (label, d), test in zip(found, tests, strict=True):
        low = high = p_value = float("nan")
        if test is not None:
            interval = test.confidence_interval(CONFIDENCE)
            low, high, p_value = float(interval.low), float(interval.high), float(next(corrected))
        mean = float(d.mean()) if len(d) else float("nan")
        differences.append(Difference(label, control, mean, low, high, len(d), p_value))
    return differences


def _testable(differences: np.ndarray) -> bool:
    return len(differences) > 1 and float(np.ptp(differences)) > 0


def find_control(group: Comparable, wanted: str | None) -> str | None:
    """Label of the control: the given one, else the first condition of uniform random order, else none.

    Raises:
        ValueError: no run of the group has the label that was asked for.
    """
    if wanted is not None:
        if wanted not in group.conditions:
            raise ValueError(f"--control {wanted!r} is none of the conditions: {'; '.join(group.conditions)}.")
        return wanted
    return next((label for label, runs in group.conditions.items() if runs[0].policy == "Uniform"), None)


def break_even(run: Run, target: float, measure: str, lower_is_better: bool) -> float | None:
    """Seconds of training and refreshes after which ``run`` first reached ``target``; none where it never did."""
    for entry in run.validations:
        value = entry["metrics"].get(measure, float("nan"))
        if value <= target if lower_is_better else value >= target:
            return float(entry["training_seconds"] + entry["refresh_seconds"])
    return None


def lower_is_better(measure: str) -> bool:
    """Whether a smaller value of ``measure`` is the better one: losses and perplexities."""
    return any(word in measure for word in ("loss", "nll", "perplexity"))


def verdict(differences: Sequence[Difference], measure: str, conditions: Mapping[str, Sequence[Run]]) -> str:
    """The result of the comparison, in one sentence."""
    if not differences:
        label, runs = next(iter(conditions.items()))
        values = [run.final(measure) for run in runs]
        return (
            f"{label} ended at {measure} {np.mean(values):.4g} ({len(values)} run{'s' * (len(values) > 1)}); with no "
            "run of random order on the same data and budget beside it, this says nothing about the curriculum."
        )
    parts = [_one(d, measure) for d in differences]
    return "; ".join(parts)[:1].upper() + "; ".join(parts)[1:] + "."


def _one(d: Difference, measure: str) -> str:
    if d.pairs == 0:
        return f"{d.label} shares no seed with {d.control}, so nothing is paired"
    if not np.isfinite(d.low):
        one = "one seed in common" if d.pairs == 1 else "differences that are all the same"
        return f"{d.label} differs by {d.mean:+.4g} in {measure} from {d.control} with {one}, which is no evidence"
    interval = f"{d.mean:+.4g} [{d.low:+.4g}, {d.high:+.4g}], {d.pairs} seeds"
    if not d.detected:
        return f"no detectable difference in {measure} between {d.label} and {d.control} ({interval})"
    better = (d.mean < 0) == lower_is_better(measure)
    return f"{d.label} is {'better' if better else 'worse'} than {d.control} in {measure} ({interval})"
