"""The checks of CAMPUS's options that no data are needed for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lit_curriculum.difficulty.words import check_choice

_OWNER = "curriculum.policy"


def check_campus_options(
    metrics: Sequence[str],
    names: Mapping[str, tuple[str, tuple[str, ...]]],
    counts: Mapping[str, int | None],
    positive: Mapping[str, float],
    budget_passes: float | None,
    budget_examples: int | None,
) -> None:
    """Refuse options out of range.

    Args:
        metrics: Names of the metrics.
        names: Option -> its value and the values allowed.
        counts: Option -> a number of 1 or more, or none.
        positive: Option -> a number above 0.
        budget_passes: Passes over the data.
        budget_examples: Number of examples.

    Raises:
        ValueError: names the option.
    """
    if not metrics or len(set(metrics)) < len(metrics):
        raise ValueError(f"{_OWNER}.metrics must name at least one metric and none twice, got {list(metrics)}.")
    for option, (value, allowed) in names.items():
        check_choice(f"{_OWNER}.{option}", value, allowed)
    for option, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{_OWNER}.{option} must be at least 1, got {count}.")
    for option, number in positive.items():
        if not number > 0.0:
            raise ValueError(f"{_OWNER}.{option} must be above 0, got {number}.")
    if positive["initial_scope"] > 1.0:
        raise ValueError(f"{_OWNER}.initial_scope must be in (0, 1], got {positive['initial_scope']}.")
    if (budget_passes is None) == (budget_examples is None):
        raise ValueError(
            f"{_OWNER}: give exactly one of budget_passes and budget_examples (got {budget_passes=}, "
            f"{budget_examples=})."
        )
    for option, budget in (("budget_passes", budget_passes), ("budget_examples", budget_examples)):
        if budget is not None and not budget > 0:
            raise ValueError(f"{_OWNER}.{option} must be above 0, got {budget}.")


def grown_sentence(num_sorted: int, size: int) -> str:
    """What is said of data that have grown in the middle of a run."""
    return (
        f"CampusPolicy has sorted {num_sorted} examples and cannot take in data that have grown to {size}: bands and "
        "budget are planned for a known size; start a new run with all of them."
    )
