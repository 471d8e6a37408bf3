"""Task types and their target shares, from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "taxonomies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taxonomy:
    """Task types with target shares that sum to 1."""

    version: str
    types: tuple[str, ...]
    ratios: Mapping[str, float]
    """Share of each type in the expanded data, Pr(T)."""
    fallback: str
    """Type of what fits no other."""


def load_taxonomy(source: str = "tapir_33") -> Taxonomy:
    """A taxonomy of the package by its name (``tapir_33``, ``tapir_32``), or a yaml file of your own by its path.

    The file holds ``version``, ``types``, ``fallback`` and ``shares``: the shares of some types, as fractions or
    decimals. The other types have what is left in equal parts; where all have one, the shares are made to sum to 1.

    Raises:
        ValueError: there is no such file, or it is not of this form.

    References:
        TAPIR (arXiv 2405.13448): a sixth each for math, reasoning and code, the rest evenly.
    """
    path = FOLDER / f"{source}.yaml"
    if not path.is_file():
        path = Path(source)
    if not path.is_file():
        raise ValueError(f"tasks.file: {source!r} is neither a taxonomy of the package nor a file; give its path.")
    content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or {"version", "types", "fallback", "shares"} - set(content):
        raise ValueError(f"{path}: a taxonomy needs version, types, fallback and shares.")
    types = tuple(str(t) for t in content["types"])
    if len(set(types)) != len(types) or content["fallback"] not in types:
        raise ValueError(f"{path}: types must be different and hold the fallback {content['fallback']!r}.")
    try:
        shares = {str(t): Fraction(str(s)) for t, s in content["shares"].items()}
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{path}: shares are fractions such as 1/6 or decimals; {error}.") from error
    unknown = set(shares) - set(types)
    given = sum(shares.values(), Fraction(0))
    if unknown or given > Fraction(101, 100) or min(shares.values(), default=Fraction(0)) < 0:
        raise ValueError(
            f"{path}: shares are of listed types, at least 0, and sum to 1 at most; they sum to {float(given):g}, and "
            f"unlisted are {sorted(unknown)}."
        )
    rest = [t for t in types if t not in shares]
    if rest:
        shares |= {t: (1 - given) / len(rest) for t in rest}
    total = sum(shares.values(), Fraction(0))
    if total <= 0:
        raise ValueError(f"{path}: the shares sum to nothing.")
    ratios = {t: float(shares[t] / total) for t in types}
    return Taxonomy(version=str(content["version"]), types=types, ratios=ratios, fallback=str(content["fallback"]))
