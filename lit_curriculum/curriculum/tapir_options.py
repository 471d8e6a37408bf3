"""TAPIR's options that can be out of range."""

from __future__ import annotations

from collections.abc import Mapping

from lit_curriculum.curriculum.base import check_size


def check_stage_size(owner: str, count: int | None, fraction: float | None, token_budget: int | None) -> None:
    """Exactly one of rows, a share of rows, and tokens says how large a stage is.

    Raises:
        ValueError: none does, more than one does, or the number is out of range.
    """
    if token_budget is None:
        check_size(fraction=fraction, count=count, owner=owner)
    elif token_budget < 1 or (fraction, count) != (None, None):
        raise ValueError(
            f"{owner}.token_budget must be at least 1 and stand without count and fraction, got {token_budget=}, "
            f"{count=}, {fraction=}."
        )


def check_threshold(owner: str, delta: float | None, target_keep: float | None) -> None:
    """Exactly one of the threshold and the share to keep says what is hard.

    Raises:
        ValueError: none does, both do, or the share is out of range.
    """
    if (delta is None) == (target_keep is None):
        raise ValueError(f"{owner}: give exactly one of delta and target_keep (got {delta=}, {target_keep=}).")
    if target_keep is not None and not 0.0 < target_keep < 1.0:
        raise ValueError(f"{owner}.target_keep must be in (0, 1), got {target_keep}.")


def check_counts(owner: str, counts: Mapping[str, int], least: int) -> None:
    """Counts are at least ``least``.

    Raises:
        ValueError: one of them is below.
    """
    for name, value in counts.items():
        if value < least:
            raise ValueError(f"{owner}.{name} must be at least {least}, got {value}.")


def check_targets(owner: str, targets: Mapping[str, float] | None) -> None:
    """Target ratios are at least 0, and not all of them are.

    Raises:
        ValueError: they are not.
    """
    if targets is not None and (not targets or min(targets.values()) < 0.0 or sum(targets.values()) <= 0.0):
        raise ValueError(f"{owner}.targets needs ratios of at least 0 with a positive sum, got {targets}.")
