"""Patterns of a sorted order: folding, zigzag, segments, stairs, saw and jitter.

All are pure permutations of a sorted order s of n entries; with L layers, layer k holds s[k], s[k + L], s[k + 2L], ...
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from lit_curriculum.curriculum.base import OWNER
from lit_curriculum.methods.baselines.ordered import Direction, OrderedPolicy, Rescore
from lit_curriculum.types import FloatArray, IntArray
from lit_curriculum.utils.options import check_range

Pattern = Literal["shuffle", "sorting", "folding", "zigzag", "segment", "stair", "saw"]


class PatternPolicy(OrderedPolicy):
    """Train on the front of an order by one metric, rearranged in a pattern.

    With the order s in the chosen direction:

    - ``shuffle``: at random; ``sorting``: as it is.
    - ``folding`` (FO): layer 0, layer 1, ..., so that each layer sweeps from one end of the order to the other.
    - ``zigzag`` (ZIG): the same with every second layer backwards, so that layers meet at like scores.
    - ``segment`` (SEG): the first ``head`` and the last ``tail`` of the order at the ends, all else between them, each
      of the three parts in random order.
    - ``stair`` (STR) and ``saw`` (SAW): the order as it is, but folded, or in zigzag, within ``transition`` of the data
      to either side of each of the ``sections - 1`` places that cut it into equal sections.

    ``jitter`` (JIT) then shuffles within consecutive windows of so many entries.

    Args:
        metric: Name of the difficulty metric; its own direction says what is hard.
        pattern: One of the seven.
        direction: ``easy_to_hard`` or ``hard_to_easy``.
        fraction: Share of the data that a stage trains on, from the front of the order; null where ``count`` is given.
        count: Number of examples that a stage trains on.
        rescore: Whether the metric is computed once (``never`` again) or with the current model ``each_stage``.
        baseline: Name of a metric that is taken off (see :class:`~lit_curriculum.OrderedPolicy`).
        layers: Layers (L) of ``folding``, ``zigzag``, and of the transitions of ``stair`` and ``saw``.
        head: Share of the stage at its beginning that is a separate segment.
        tail: The same at its end.
        sections: Sections of ``stair`` and ``saw``.
        transition: Radius of a transition as a share of the stage.
        jitter: Entries of a window that is shuffled; 1 shuffles nothing.

    Raises:
        ValueError: an option is out of range, or transitions overlap.

    References:
        Dai et al. 2026, "Demystifying Data Organization for Enhanced LLM Training", arXiv 2605.30334. The seven are
        those that DataFlex 1.1.0 offers (segments there may also take both ends from one tail).
    """

    def __init__(
        self,
        metric: str,
        pattern: Pattern,
        direction: Direction = "easy_to_hard",
        fraction: float | None = 1.0,
        count: int | None = None,
        rescore: Rescore = "never",
        baseline: str | None = None,
        layers: int = 5,
        head: float = 0.1,
        tail: float = 0.1,
        sections: int = 2,
        transition: float = 0.1,
        jitter: int = 1,
    ) -> None:
        super().__init__(metric, direction, fraction, count, rescore, baseline)
        check_range(self, "[1, inf)", layers=layers, sections=sections, jitter=jitter)
        if head < 0.0 or tail < 0.0 or head + tail > 1.0:
            raise ValueError(f"{OWNER}.head and tail must be at least 0 and sum to at most 1, got {head} and {tail}.")
        if not 0.0 <= transition < 0.5 / sections:
            raise ValueError(
                f"{OWNER}.transition={transition} must be in [0, {0.5 / sections:g}) with sections={sections}, so "
                "that transitions do not overlap; lower either."
            )
        self.pattern: Pattern = pattern
        self.layers, self.head, self.tail = layers, head, tail
        self.sections, self.transition, self.jitter = sections, transition, jitter

    def choose(self, order: IntArray, hardness: FloatArray, stage: int, generator: np.random.Generator) -> IntArray:
        chosen = order[: self._size]
        match self.pattern:
            case "sorting":
                arranged = chosen
            case "shuffle":
                arranged = generator.permutation(chosen)
            case "folding":
                arranged = fold(chosen, self.layers)
            case "zigzag":
                arranged = zigzag(chosen, self.layers)
            case "segment":
                arranged = segments(chosen, self.head, self.tail, generator)
            case "stair" | "saw":
                arranged = transitions(chosen, self.sections, self.transition, self.layers, self.pattern == "saw")
        return jittered(arranged, self.jitter, generator)


def fold(order: IntArray, layers: int) -> IntArray:
    """[n] the layers one after the other."""
    return np.concatenate([order[k::layers] for k in range(layers)])


def zigzag(order: IntArray, layers: int) -> IntArray:
    """[n] the layers one after the other, those of odd number backwards."""
    return np.concatenate([order[k::layers][:: -1 if k % 2 else 1] for k in range(layers)])


def segments(order: IntArray, head: float, tail: float, generator: np.random.Generator) -> IntArray:
    """[n] first ``head``, then the middle, then the last ``tail`` of ``order``, each part in random order."""
    # The small constant keeps 0.07 * 100 at 7 where the product falls a rounding error below it.
    first, last = int(head * len(order) + 1e-9), len(order) - int(tail * len(order) + 1e-9)
    return np.concatenate([generator.permutation(part) for part in np.split(order, [first, last])])


def transitions(order: IntArray, sections: int, radius: float, layers: int, backwards: bool) -> IntArray:
    """[n] ``order``, folded (in zigzag where ``backwards``) within ``radius`` of every border between sections.

    Args:
        order: [n] what is rearranged.
        sections: Number of equal sections.
        radius: Share of n to either side of a border.
        layers: Layers of a fold.
        backwards: Whether layers of odd number run backwards.
    """
    size = len(order)
    reach = round(radius * size)
    arranged = order.copy()
    for section in range(1, sections):
        border = round(size * section / sections)
        place = slice(max(0, border - reach), border + reach)
        arranged[place] = zigzag(order[place], layers) if backwards else fold(order[place], layers)
    return arranged


def jittered(order: IntArray, window: int, generator: np.random.Generator) -> IntArray:
    """[n] ``order``, shuffled within consecutive windows of ``window`` entries."""
    if window == 1:
        return order
    return np.concatenate([generator.permutation(order[i : i + window]) for i in range(0, len(order), window)])
