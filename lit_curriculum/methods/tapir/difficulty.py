"""Model Fitting Difficulty: how far the student's answer falls behind the teacher's, by a judge's scores."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.types import BoolArray, FloatArray

Sign = Literal["teacher_minus_student", "literal"]


class ModelFittingDifficulty(DifficultyMetric):
    """Teacher's score minus student's score, both from 1 to 10; entered in the table by the part that has a judge.

    The formula as printed is student minus teacher, which would call instructions hard that the student answers
    better than the teacher; ``literal`` takes it so.

    Args:
        sign: ``teacher_minus_student``, or ``literal`` for the opposite.

    Raises:
        ValueError: ``sign`` is none of the two.

    References:
        Yue et al., arXiv 2405.13448, section 3, Model Fitting Difficulty (MFD).
    """

    unit = "points"
    score_range = (-9.0, 9.0)

    def __init__(self, sign: Sign = "teacher_minus_student") -> None:
        self.sign = sign

    @property
    def formula(self) -> str:
        return f"mfd-{self.sign.replace('_', '-')}/1"

    def gap(self, teacher: FloatArray, student: FloatArray) -> FloatArray:
        """[N] difficulty from the scores [N] of both answers; NaN where either is."""
        return teacher - student if self.sign == "teacher_minus_student" else student - teacher


def threshold(gaps: FloatArray, *, delta: float | None, target_keep: float | None) -> float:
    """The gap above which an instruction is hard.

    Args:
        gaps: [N] gaps; NaN where there is none.
        delta: The threshold itself (delta), or none.
        target_keep: Instead, the share of the judged instructions to keep, in (0, 1): the lowest threshold that no
            larger share lies strictly above. Gaps come in half points, so the share may fall short of it.

    Raises:
        ValueError: no instruction has a gap to take a quantile of.
    """
    if delta is not None:
        return delta
    assert target_keep is not None
    known = np.sort(gaps[np.isfinite(gaps)])
    if not len(known):
        raise ValueError("no instruction has been judged, so curriculum.policy.target_keep has nothing to choose from.")
    above = len(known) - np.searchsorted(known, known, side="right")
    return float(known[above <= target_keep * len(known)][0])


def is_hard(gaps: FloatArray, delta: float) -> BoolArray:
    """[N] true where the gap is strictly above ``delta``; never where there is none."""
    hard: BoolArray = np.greater(gaps, delta, where=np.isfinite(gaps), out=np.zeros(len(gaps), dtype=np.bool_))
    return hard


def gap_histogram(gaps: FloatArray, delta: float, formula: str) -> str:
    """The gaps [N] as lines of text, a bar for each whole or half point, and what share lies above ``delta``.

    Args:
        gaps: NaN where there is none.
        delta: The threshold.
        formula: Id of what the gaps are, with their sign.
    """
    known = gaps[np.isfinite(gaps)]
    if not len(known):
        return "MFD: no instruction has been judged."
    values, counts = np.unique(np.round(2 * known) / 2, return_counts=True)
    lines = [
        f"{value:+5.1f} {'#' * max(1, round(40 * count / counts.max())):<40} {count}"
        for value, count in zip(values, counts, strict=True)
    ]
    share = float(is_hard(gaps, delta).sum()) / len(known)
    without = f"{len(gaps) - len(known)} without one"
    note = f"MFD ({formula}) of {len(known)} instructions, {without}; {share:.1%} above {delta:g}"
    return "\n".join([note, *lines])
