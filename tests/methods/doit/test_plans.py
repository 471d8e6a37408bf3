"""Mixtures: the paper's sets to the row, the ladder, and a choice that does not depend on listing order."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum.curriculum.quotas import choose_rows, count_abilities, recipe_counts, water_fill
from lit_curriculum.methods.doit.study.study import PAPER_LADDER, MixturePlan, ladder

FULL = {
    "biology": 1041, "history": 1856, "code": 4968, "creative_writing": 1000, "chinese": 1434, "understanding": 4885,
    "role_play": 1000, "reasoning": 12751, "math": 11501, "ethics": 1000, "synthetic": 40960,
}  # fmt: skip


def _reference_water_fill(caps: dict[str, int], budget: int) -> dict[str, int]:
    """One row at a time to the smallest open share, first name first."""
    counts = dict.fromkeys(sorted(caps), 0)
    for _ in range(budget):
        name = min((a for a in counts if counts[a] < caps[a]), key=lambda a: (counts[a], a))
        counts[name] += 1
    return counts


@pytest.mark.parametrize(("name", "total"), [
    ("baseline", 10_000), ("reconstruct", 10_000), ("maximum", 39_564), ("mix-0", 39_564), ("mix-2560", 42_124),
    ("mix-40960", 80_524),
])  # fmt: skip
def test_the_papers_sets_have_their_totals(name: str, total: int) -> None:
    counts = recipe_counts(name, FULL)
    assert sum(counts.values()) == total
    backwards = recipe_counts(name, dict(reversed(FULL.items())))
    assert MixturePlan(counts=counts).hash == MixturePlan(counts=backwards).hash


def test_reconstruct_is_the_papers_to_the_row() -> None:
    assert recipe_counts("reconstruct", FULL) == {
        "biology": 1041, "chinese": 1306, "code": 1305, "creative_writing": 1000, "ethics": 64, "history": 1305,
        "math": 1305, "reasoning": 1305, "role_play": 64, "understanding": 1305,
    }  # fmt: skip


def test_water_filling_equals_giving_row_by_row() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        caps = {f"a{i}": int(rng.integers(0, 20)) for i in range(int(rng.integers(1, 7)))}
        budget = int(rng.integers(0, sum(caps.values()) + 1))
        assert water_fill(caps, budget) == _reference_water_fill(caps, budget)


def test_a_budget_beyond_the_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="a budget of 5 rows exceeds the 3"):
        water_fill({"a": 3}, 5)
    with pytest.raises(ValueError, match="no recipe 'mix'"):
        recipe_counts("mix", FULL)
    with pytest.raises(ValueError, match="asks for 50000 rows of ability 'synthetic'"):
        recipe_counts("mix-50000", FULL)


def test_the_ladder_has_the_papers_totals() -> None:
    assert [sum(p.counts.values()) for p in ladder(FULL, PAPER_LADDER)] == [10, 40, 160, 640, 2560, 10_000]
    pooled = ladder(FULL, PAPER_LADDER, pooled=True)
    assert [dict(p.counts) for p in pooled][-1] == {"synthetic": 10_000}
    with pytest.raises(ValueError, match="asks for 1001 rows of ability 'creative_writing'"):
        ladder(FULL, [1001])


ABILITIES = [["x", "y", None][i % 3] for i in range(60)]
HASHES = np.array([f"{i:032x}".encode() for i in range(60)], dtype="S32")


def test_nested_rungs_hold_one_another_and_independent_ones_do_not() -> None:
    def rows(n: int, mode: str) -> set[int]:
        return set(choose_rows(ABILITIES, HASHES, {"x": n, "y": n}, mode, 7)["x"].tolist())  # type: ignore[arg-type]

    assert rows(4, "nested") < rows(8, "nested") < rows(16, "nested")
    assert not rows(4, "independent") <= rows(8, "independent")
    assert rows(4, "prefix") == {0, 3, 6, 9}
    assert (
        choose_rows(ABILITIES, HASHES, {"x": 4}, "nested", 7)["x"].tolist()
        != choose_rows(ABILITIES, HASHES, {"x": 4}, "nested", 8)["x"].tolist()
    )


@pytest.mark.parametrize("mode", ["nested", "independent"])
def test_the_choice_does_not_depend_on_listing_order(mode: str) -> None:
    order = np.random.default_rng(1).permutation(60)
    counts = {"y": 5, "x": 3}
    straight = choose_rows(ABILITIES, HASHES, counts, mode, 0)  # type: ignore[arg-type]
    mixed = choose_rows([ABILITIES[i] for i in order], HASHES[order], counts, mode, 0)  # type: ignore[arg-type]
    assert {a: r.tolist() for a, r in straight.items()} == {a: order[r].tolist() for a, r in mixed.items()}


def test_abilities_are_counted() -> None:
    assert count_abilities(ABILITIES) == {"x": 20, "y": 20}
    assert count_abilities([None]) == {}
