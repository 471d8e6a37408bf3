"""What the scorer looks at: a prompt with an answer to it, the reference or the model's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.types import CONDITIONED, Example, ExampleStore


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to one prompt, as tokens."""

    example: Example
    prompt: NDArray[np.int32]
    """[P] tokens before the first scored one."""
    tokens: NDArray[np.int32]
    """[A] tokens of the answer, without the one that ends it."""


def reference(store: ExampleStore, index: int, max_tokens: int | None = None) -> Answer:
    """The first answer that the data give, or none of its tokens where nothing is scored.

    The token that ends the turn is left out, and so is what lies beyond ``max_tokens``: answers of the model have
    neither, so with them a scorer could tell the two apart without looking at what they say.
    """
    ids, scored = store.encoded(index, CONDITIONED)
    places = np.flatnonzero(scored)
    first = int(places[0]) if len(places) else len(ids)
    gaps = np.flatnonzero(~scored[first:])
    stop = first + int(gaps[0]) if len(gaps) else len(ids)
    tokens = ids[first : max(first, stop - 1)]
    return Answer(store[index], ids[:first], tokens if max_tokens is None else tokens[:max_tokens])
