"""How many tokens a batch should hold: tried out on the data at hand, for as little as it may cost."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lit_curriculum.types import IntArray

CPU_TOKEN_BUDGET, ACCELERATOR_TOKEN_BUDGET = 2048, 16_384
"""Padded tokens in a batch where nothing is tried out: a CPU's caches hold little, a GPU needs work at once."""
_SMALLEST, _LARGEST = 1024, 1 << 18
_GAIN = 1.03
_COST = 0.03
_REPEATS = 2


def find_token_budget(lengths: IntArray, seconds: Callable[[IntArray], float], otherwise: int) -> int:
    """The number of tokens, doubled from 1024 on, after which the rate rises by less than 3 % or memory ends.

    Trying out may cost 3 % of the tokens to score; where that buys nothing the answer is ``otherwise``.

    Args:
        lengths: [U] tokens of each sequence to score.
        seconds: Runs these items as one batch and times it; infinite where memory does not suffice. All processes
            of a run have to get the same answers.
        otherwise: The answer where there is too little to score for trying out to pay.
    """
    order = np.argsort(-lengths, kind="stable")
    allowed = _COST * float(lengths.sum())
    best, best_rate, budget = 0, 0.0, _SMALLEST
    while budget <= _LARGEST:
        # From the middle on: of typical length.
        low = len(order) // 2
        items = order[low : low + max(1, budget // int(lengths[order[low]]))] if len(order) else order
        tokens = int(lengths[items].sum())
        allowed -= _REPEATS * tokens
        if allowed < 0 or tokens < budget // 2:
            break
        rate = tokens / min(seconds(items) for _ in range(_REPEATS))
        if rate <= best_rate * _GAIN or not math.isfinite(rate):
            break
        best, best_rate = budget, rate
        budget *= 2
    return best or otherwise
