"""Answers to many prompts some at a time, so that whoever waits is told how far it has come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.difficulty.runner import Progress

_PART = 256
TokenIds = NDArray[np.int32]


def answers_in_parts(
    prompts: Sequence[TokenIds], answer: Callable[[list[TokenIds]], list[TokenIds]], progress: Progress | None
) -> list[TokenIds]:
    """What ``answer`` makes of each prompt; parts hold prompts of like length, the longest come first.

    Args:
        prompts: Token ids; an answer may not depend on what else is in its part.
        answer: Makes an answer for each prompt of a part.
        progress: Told (prompts answered, prompts in all) after each part.
    """
    order = np.argsort([-len(p) for p in prompts], kind="stable")
    found: list[TokenIds] = [np.empty(0, np.int32)] * len(prompts)
    for start in range(0, len(prompts), _PART):
        rows = order[start : start + _PART]
        for row, tokens in zip(rows, answer([prompts[r] for r in rows]), strict=True):
            found[row] = tokens
        if progress is not None:
            progress(start + len(rows), len(prompts))
    return found
