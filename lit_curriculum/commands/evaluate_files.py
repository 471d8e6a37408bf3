"""What ``lit-curriculum evaluate`` writes, and how parts from several machines become one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lit_curriculum.evaluation.summary import TaskScore, result_of, summarise


def parse_shard(text: str) -> tuple[int, int]:
    """``I/N`` as (I, N).

    Raises:
        ValueError: it is not of that form, or I is not from 1 to N.
    """
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ValueError(f"--shard {text} must be I/N with I from 1 to N, such as 1/4.")
    return int(part), int(parts)


def write_evaluation(out: Path, lines: Sequence[Mapping[str, Any]], said: Mapping[str, Any]) -> str:
    """Write ``items.jsonl``, ``results.json`` and ``results.md``.

    Args:
        out: Folder.
        lines: One an item, from :func:`~lit_curriculum.evaluation.summary.item_line`.
        said: What was evaluated, and how.

    Returns:
        The table.
    """
    out.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (out / "items.jsonl").write_text(text, encoding="utf-8")
    rows = summarise([result_of(line) for line in lines])
    whole = {**said, "rows": [asdict(row) for row in rows]}
    (out / "results.json").write_text(json.dumps(whole, indent=1, allow_nan=True) + "\n", encoding="utf-8")
    table = as_table(rows)
    (out / "results.md").write_text(table, encoding="utf-8")
    return table


def merge_evaluations(parts: Sequence[Path], out: Path) -> str:
    """One evaluation from all shards of it; the table is that of a single process.

    Args:
        parts: Folders that ``evaluate --shard`` has written, in any order.
        out: Folder to write.

    Raises:
        ValueError: a folder holds no shard, the shards are of different evaluations, or one is missing or there twice.
    """
    said = []
    for part in parts:
        path = part / "results.json"
        if not path.is_file():
            raise ValueError(f"--merge: {part} holds no results.json; give the folders that evaluate --shard wrote.")
        one = json.loads(path.read_text(encoding="utf-8"))
        if not one.get("shard"):
            raise ValueError(f"--merge: {part} is of a whole evaluation and not of a shard.")
        said.append(one)
    for part, one in zip(parts, said, strict=True):
        differing = [n for n in ("model", "tasks", "options", "num_items") if one[n] != said[0][n]]
        if differing or one["shard"][1] != said[0]["shard"][1]:
            what = differing[0] if differing else "number of shards"
            raise ValueError(f"--merge: {part} and {parts[0]} differ in {what}; merge shards of one evaluation.")
    numbers, wanted = sorted(one["shard"][0] for one in said), list(range(1, said[0]["shard"][1] + 1))
    if numbers != wanted:
        raise ValueError(f"--merge: shards {numbers} are not each of {wanted} once; give every shard once.")
    lines = [json.loads(x) for p in parts for x in (p / "items.jsonl").read_text(encoding="utf-8").splitlines()]
    lines.sort(key=lambda line: int(line["place"]))
    whole = {k: v for k, v in said[0].items() if k != "rows"} | {"shard": None}
    return write_evaluation(out, lines, whole)


def as_table(rows: Sequence[TaskScore]) -> str:
    """Rows of tasks as a table in Markdown; scores in percent."""
    lines = [
        "| task | items | score, % | 95 % interval | chance, % | kappa | loss, nats per token | further |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        further = ", ".join(f"{name} {100 * value:.1f} %" for name, value in row.extra.items())
        loss = f"{row.nll:.3f}" if row.nll == row.nll else ""
        lines.append(
            f"| {row.task} | {row.num_items} | {100 * row.score:.1f} | {100 * row.interval.low:.1f} to "
            f"{100 * row.interval.high:.1f} | {100 * row.chance:.1f} | {row.kappa:.3f} | {loss} | {further} |"
        )
    return "\n".join(lines) + "\n"
