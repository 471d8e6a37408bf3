"""A random few of those that need no new score get one: what is wrong among them tells of the rest."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from scipy.stats import hypergeom

from lit_curriculum.types import FloatArray, IntArray

CERTAINTY = 0.95
"""Probability, over the draw of the sample, with which :func:`most_wrong` is not passed by."""


@dataclass(frozen=True, slots=True)
class CheckSample:
    """Who was drawn for a stage, and what was known of them before."""

    stage: int
    indices: IntArray
    """[n] examples drawn."""
    height: FloatArray
    """[n] their scores before, turned so that the highest are chosen."""
    ages: IntArray
    """[n] in stages."""
    population: int
    """How many they were drawn from, themselves included."""

    def figures(self, num_wrong: int, stage_size: int) -> dict[str, float]:
        """What is logged of the sample when ``num_wrong`` of it were on the wrong side."""
        count = len(self.indices)
        return {
            "refresh_checked": float(count),
            "refresh_measured_error": num_wrong / count,
            # More than all that are chosen cannot be wrong.
            "refresh_errors_at_most": float(min(most_wrong(num_wrong, count, self.population), stage_size)),
        }


def most_wrong(num_wrong: int, num_checked: int, population: int) -> int:
    """Upper confidence limit of how many are wrong among those that were not checked.

    Exact for a sample without replacement: the largest number under which so few wrong ones in the sample, or fewer,
    are not less likely than one in twenty.

    Args:
        num_wrong: Wrong ones in the sample.
        num_checked: Size of the sample, at least 1.
        population: How many it was drawn from.

    References:
        Clopper and Pearson 1934, "The use of confidence or fiducial limits", Biometrika 26, for the hypergeometric.
    """
    assert 0 <= num_wrong <= num_checked <= population
    assert num_checked > 0
    totals = range(num_wrong, population - num_checked + num_wrong + 1)

    def ruled_out(total: int) -> bool:
        return bool(hypergeom.cdf(num_wrong, population, total, num_checked) <= 1.0 - CERTAINTY)

    return bisect_left(totals, True, key=ruled_out) - 1
