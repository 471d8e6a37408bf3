"""The stated bound of a budgeted refresh is the exact limit of a draw, and covers what is given up."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from lit_curriculum.methods.wrappers.budget import BudgetedRefresh
from lit_curriculum.methods.wrappers.drift import upper_error_bound
from lit_curriculum.types import IntArray
from tests.methods.wrappers.refresh_toys import World, drive, ordered


def _reference_most_wrong(num_wrong: int, num_checked: int, population: int) -> int:
    """By counting all ways to draw, from the largest number down."""

    def ways(total: int) -> int:
        return sum(comb(total, k) * comb(population - total, num_checked - k) for k in range(num_wrong + 1))

    rest = population - num_checked
    while 20 * ways(num_wrong + rest) <= comb(population, num_checked):
        rest -= 1
    return rest


def test_the_bound_is_the_exact_limit_of_a_draw() -> None:
    # Of 70 all but 6 are checked and right: one wrong one is missed with probability 6 / 70, two with 30 / 4830.
    assert upper_error_bound(0, 64, 70) == 1
    assert upper_error_bound(0, 64, 64) == 0
    assert upper_error_bound(3, 3, 10) == 7
    generator = np.random.default_rng(0)
    for _ in range(200):
        population = int(generator.integers(1, 90))
        checked = int(generator.integers(1, population + 1))
        wrong = int(generator.integers(0, checked + 1))
        assert upper_error_bound(wrong, checked, population) == _reference_most_wrong(wrong, checked, population)
    assert upper_error_bound(0, 64, 1_000_000) == pytest.approx(1_000_000 * (1 - 0.05 ** (1 / 64)), rel=0.01)


class Accelerating(World):
    """Drift that grows by half with every stage, by a shift of either sign: the last stage always says too little."""

    def advance(self, trained: IntArray) -> None:
        self.noise *= 1.5
        super().advance(trained)
        self.truth = np.maximum(self.truth + 3 * self.noise * self.generator.normal(), 0.01)


@pytest.mark.parametrize(
    ("confidence", "max_count", "saved"), [(0.95, None, 0.02), (0.5, None, 0.3), (0.95, 100, 0.65)]
)
def test_the_stated_bound_covers_what_is_given_up(confidence: float, max_count: int | None, saved: float) -> None:
    found, stated, passed, skipped = [], [], 0, []
    for seed in range(20):
        policy = BudgetedRefresh(ordered(), "ifd", confidence=confidence, max_count=max_count, check_seed=seed)
        for stage in drive(policy, 400, 7, 0.004, Accelerating(400, 0.004, seed))[2:]:
            scalars = stage.plan.scalars
            found.append(stage.rank_error * len(stage.plan))
            stated.append(scalars["refresh_errors_at_most"])
            skipped.append(scalars["refresh_saved"])
            passed += found[-1] > stated[-1]
    assert np.mean(skipped) > saved
    assert sum(found) > 0, "the bound was never put to the test"
    assert passed <= 0.05 * len(found), "one refresh in twenty may pass it"
    assert sum(found) < sum(stated)
