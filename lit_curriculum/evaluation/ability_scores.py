"""Accuracy, loss and chance-corrected accuracy of each ability or task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def ability_scores(
    abilities: Sequence[str], right: NDArray[Any], nll_sum: NDArray[Any], num_scored: NDArray[Any], chance: NDArray[Any]
) -> dict[str, dict[str, float]]:
    """Score each ability over its items.

    Args:
        abilities: [M] ability of each item.
        right: [M] whether the answer is right; or a score between 0 and 1, such as pass@k.
        nll_sum: [M] summed loss of the right answer in nats.
        num_scored: [M] number of tokens that the sum is over.
        chance: [M] probability that a blind guess is right; NaN where it is unknown.

    Returns:
        Ability -> ``accuracy``, the mean p of ``right``; ``nll``, the loss in nats per token; ``chance``, the mean c;
        ``kappa``, (p - c) / (1 - c): 0 at chance, 1 when all is right; and ``num_examples``. Chance and kappa are NaN
        where an item's chance is unknown. Abilities are in the order of their first items.

    References:
        Chance correction: Cohen 1960, "A coefficient of agreement for nominal scales".
    """
    names = list(dict.fromkeys(abilities))
    code = {name: number for number, name in enumerate(names)}
    codes = np.array([code[name] for name in abilities], dtype=np.int64)
    total = np.bincount(codes, minlength=len(names))
    correct, nll, tokens, guessed = (
        np.bincount(codes, weights=values, minlength=len(names)) for values in (right, nll_sum, num_scored, chance)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        accuracy, chances = correct / total, guessed / total
        columns = {
            "accuracy": accuracy,
            "nll": nll / tokens,
            "chance": chances,
            "kappa": (accuracy - chances) / (1 - chances),
            "num_examples": total,
        }
    values = {column: found.tolist() for column, found in columns.items()}
    return {name: {column: values[column][k] for column in values} for k, name in enumerate(names)}
