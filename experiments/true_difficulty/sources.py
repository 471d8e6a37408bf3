"""Rows whose true difficulty is known, drawn by content so that the draw does not depend on the file's order."""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

_MARK = re.compile(r"<<[^>]*>>")


@dataclass(frozen=True, kw_only=True)
class TrueRow:
    """An instruction with its response, and what is known of its difficulty."""

    id: str
    instruction: str
    response: str
    truth: float
    group: str
    """What the bootstrap draws together: the row, or its chain."""
    parent: str | None = None
    """The row that it must be harder than."""


def math_levels(path: Path, num_rows: int, max_characters: int) -> list[TrueRow]:
    """Equally many rows of each of MATH's five levels."""
    found: dict[int, list[TrueRow]] = defaultdict(list)
    for row in _read(path, max_characters):
        found[int(row["level"])].append(_row(row, float(row["level"])))
    return [r for level in sorted(found) for r in _draw(found[level], num_rows // len(found))]


def gsm8k_steps(path: Path, num_rows: int, max_characters: int) -> list[TrueRow]:
    """Rows by their number of calculator steps; the marks that spell them out are taken from the response."""
    rows = []
    for row in _read(path, max_characters):
        steps = len(_MARK.findall(row["output"]))
        if steps:
            rows.append(_row({**row, "output": _MARK.sub("", row["output"])}, float(steps)))
    return _draw(rows, num_rows)


def evol_chains(path: Path, num_rows: int, max_characters: int) -> list[TrueRow]:
    """Whole chains of a seed and its two evolutions."""
    chains: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in _read(path, max_characters):
        chains[row["chain"]][int(row["evol_level"])] = row
    rows = []
    for name in sorted((c for c, rows in chains.items() if set(rows) == {0, 1, 2}), key=_place)[: num_rows // 3]:
        for level, row in sorted(chains[name].items()):
            rows.append(TrueRow(id=row["id"], instruction=_prompt(row), response=row["output"], truth=float(level),
                                group=name, parent=row["parent_id"]))  # fmt: skip
    return rows


def cherry_membership(path: Path, num_rows: int, max_characters: int) -> list[TrueRow]:
    """Of a uniform sample of Alpaca, as many rows that Cherry_LLM selected as rows that it did not."""
    found: dict[bool, list[TrueRow]] = {True: [], False: []}
    for row in _read(path, max_characters):
        if row["random9k"] and row["cherry5"] is not None:
            found[bool(row["cherry5"])].append(_row(row, float(row["cherry5"])))
    return [r for chosen in (True, False) for r in _draw(found[chosen], num_rows // 2)]


def write_rows(path: Path, rows: Sequence[TrueRow]) -> None:
    """As instruction data, one JSON line a row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"id": r.id, "instruction": r.instruction, "output": r.response}) for r in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _row(row: dict[str, Any], truth: float) -> TrueRow:
    return TrueRow(id=row["id"], instruction=_prompt(row), response=row["output"], truth=truth, group=row["id"])


def _prompt(row: dict[str, Any]) -> str:
    return "\n\n".join(part for part in (row["instruction"], row["input"]) if part)


def _read(path: Path, max_characters: int) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [r for r in rows if r["output"].strip() and len(_prompt(r)) + len(r["output"]) <= max_characters]


def _draw(rows: Sequence[TrueRow], count: int) -> list[TrueRow]:
    return sorted(rows, key=lambda r: _place(r.id))[:count]


def _place(name: str) -> bytes:
    return blake2b(name.encode()).digest()


FILES: dict[str, tuple[str, Callable[[Path, int, int], list[TrueRow]]]] = {
    "MATH levels": ("math_levels_4500.jsonl.gz", math_levels),
    "Evol levels": ("evol_code_ladder.jsonl.gz", evol_chains),
    "GSM8K steps": ("gsm8k_train.jsonl.gz", gsm8k_steps),
    "Cherry's selection": ("alpaca_18k.jsonl.gz", cherry_membership),
}
TWO_SIDED = ("Cherry's selection", "planted noise")
