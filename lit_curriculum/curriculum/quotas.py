"""Quotas of abilities in a mixture: recipes, equal shares under caps, and nested subsets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.types import ExampleStore, IntArray

SelectMode = Literal["nested", "independent", "prefix"]

PAPER_QUOTAS: Mapping[str, int] = {"ethics": 64, "role_play": 64, "creative_writing": 1000}
"""Rows of the abilities that the paper holds back: two resistant ones, one that saturates."""
PAPER_BUDGET = 10_000
PAPER_PER_ABILITY = 1_000
SYNTHETIC = "synthetic"
"""Ability key of the pooled general data that a mix adds."""


def water_fill(caps: Mapping[str, int], budget: int) -> dict[str, int]:
    """Split ``budget`` equally under caps: the rest of a capped ability is shared by the others.

    A remainder goes row by row to the abilities in alphabetical order, so the listing order changes nothing.

    Args:
        caps: Rows at most of each ability.
        budget: Rows to share out.

    Raises:
        ValueError: the caps hold fewer rows than the budget.
    """
    if budget > sum(caps.values()):
        raise ValueError(
            f"a budget of {budget} rows exceeds the {sum(caps.values())} that the abilities have together; lower it."
        )
    counts: dict[str, int] = {}
    open_, left = sorted(caps), budget
    while open_:
        share = left // len(open_)
        full = [a for a in open_ if caps[a] <= share]
        if not full:
            extra = left - share * len(open_)
            counts |= {a: share + (i < extra) for i, a in enumerate(open_)}
            break
        for a in full:
            counts[a] = caps[a]
            left -= caps[a]
        open_ = [a for a in open_ if a not in counts]
    return counts


def recipe_counts(
    recipe: str,
    available: Mapping[str, int],
    quotas: Mapping[str, int] = PAPER_QUOTAS,
    budget: int = PAPER_BUDGET,
) -> dict[str, int]:
    """Rows of each ability in one of the paper's sets.

    Args:
        recipe: ``baseline`` (1000 rows each), ``reconstruct`` (quotas, and equal shares of the rest of
            the budget), ``maximum`` (quotas, and all of the others), or ``mix-N``: ``maximum`` and N synthetic rows.
        available: Rows that there are, ability by ability.
        quotas: Abilities with a fixed number of rows; those that are not available are passed over.
        budget: Rows in all of ``reconstruct``.

    Raises:
        ValueError: there is no such recipe, or fewer rows than it takes.

    References:
        Song et al. 2023, arXiv 2310.19651v1, section 5.1 and Tables 2 and 3.
    """
    kind, _, number = recipe.partition("-")
    if recipe not in ("baseline", "reconstruct", "maximum") and not (kind == "mix" and number.isdecimal()):
        raise ValueError(f"there is no recipe {recipe!r}; there are baseline, reconstruct, maximum and mix-N.")
    ours = {a: n for a, n in available.items() if a != SYNTHETIC}
    fixed = {a: n for a, n in quotas.items() if a in ours}
    rest = {a: n for a, n in ours.items() if a not in fixed}
    if recipe == "baseline":
        counts = dict.fromkeys(ours, PAPER_PER_ABILITY)
    elif recipe == "reconstruct":
        counts = fixed | water_fill(rest, budget - sum(fixed.values()))
    else:
        counts = fixed | rest
    if kind == "mix" and int(number):
        counts[SYNTHETIC] = int(number)
    check_counts(counts, available)
    return dict(sorted(counts.items()))


def check_counts(counts: Mapping[str, int], available: Mapping[str, int]) -> None:
    """Refuse a mixture with more rows than the data have.

    Raises:
        ValueError: an ability has fewer rows than are asked for, or none.
    """
    for ability, count in counts.items():
        if not 0 <= count <= available.get(ability, 0):
            raise ValueError(
                f"the mixture asks for {count} rows of ability {ability!r}, the data have "
                f"{available.get(ability, 0)}; lower its count or add data."
            )


def count_abilities(abilities: Sequence[str | None]) -> dict[str, int]:
    """Rows of each ability, those without one left out; alphabetical."""
    names = [a for a in abilities if a is not None]
    return {str(a): int(n) for a, n in zip(*np.unique(names, return_counts=True), strict=True)} if names else {}


def choose_rows(
    abilities: Sequence[str | None],
    content_hashes: NDArray[np.bytes_],
    counts: Mapping[str, int],
    mode: SelectMode,
    seed: int,
) -> dict[str, IntArray]:
    """Indices of the rows that a mixture takes of each ability.

    Args:
        abilities: [N] ability of each row.
        content_hashes: [N] content hashes; they, and not the listing order, decide which rows are drawn.
        counts: Rows of each ability.
        mode: ``nested``: the first rows of one random order of the ability, so that a larger count holds a smaller
            one; ``independent``: another random order for every count; ``prefix``: the first rows as listed.
        seed: Of the random orders.

    Raises:
        ValueError: an ability has fewer rows than are asked for.
    """
    rows: dict[str, list[int]] = {a: [] for a in counts}
    for index, ability in enumerate(abilities):
        if ability in rows:
            rows[ability].append(index)
    check_counts(counts, {a: len(r) for a, r in rows.items()})
    chosen: dict[str, IntArray] = {}
    for ability in sorted(counts):
        mine = np.array(rows[ability], dtype=np.int64)
        if mode != "prefix":
            drawn = f"/{counts[ability]}" if mode == "independent" else ""
            salt = f"{seed}/{ability}{drawn}/".encode()
            keys = [hashlib.blake2b(salt + bytes(content_hashes[i]), digest_size=16).digest() for i in mine]
            mine = mine[np.argsort(np.array(keys, dtype="S16"), kind="stable")]
        chosen[ability] = mine[: counts[ability]]
    return chosen


def split_probes(examples: ExampleStore, probe: int, owner: str) -> tuple[dict[str, IntArray], dict[str, IntArray]]:
    """Split every ability into ``probe`` rows that are only scored, chosen by content hash, and the others.

    Args:
        examples: The data.
        probe: Rows of each ability that are kept out of training.
        owner: Option prefix for the message, such as ``curriculum.policy``.

    Raises:
        ValueError: an ability would have nothing left to train on.
    """
    available = count_abilities(examples.abilities)
    small = min(available, key=lambda a: available[a])
    if available[small] <= probe:
        raise ValueError(
            f"{owner}.probe={probe} leaves nothing to train on of ability {small!r} with {available[small]} rows; "
            "lower it."
        )
    rows = choose_rows(examples.abilities, examples.content_hashes, available, "nested", 0)
    return {a: r[:probe] for a, r in rows.items()}, {a: r[probe:] for a, r in rows.items()}
