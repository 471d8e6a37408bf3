"""Items from a file and the name of its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lit_curriculum.evaluation.items import EvalItem, ItemKind
from lit_curriculum.evaluation.tasks import benchmarks
from lit_curriculum.evaluation.tasks.doit import doit
from lit_curriculum.evaluation.tasks.read import list_files, need, others, read_records
from lit_curriculum.types import Message

Reader = Callable[[dict[str, Any], str], EvalItem | None]


def own_item(record: dict[str, Any], where: str) -> EvalItem:
    """A record in the fields of :class:`~lit_curriculum.evaluation.items.EvalItem`.

    Needed are ``gold`` (or ``choices`` and ``gold_index``) and one of ``prompt`` and ``messages``; kind is ``ranked``
    with messages and choices, ``choice`` with a prompt and choices, else ``exact`` with the parser ``whole``.
    """
    choices = tuple(str(c) for c in record.get("choices", ()))
    turns = tuple(Message(role=t["role"], content=t["content"]) for t in record.get("messages", ()))
    inferred: ItemKind = ("ranked" if turns else "choice") if choices else "exact"
    kind = record.get("kind", inferred)
    place = record.get("gold_index")
    gold = choices[place] if choices and isinstance(place, int) and 0 <= place < len(choices) else None
    chance = record.get("chance", 1 / len(choices) if choices else 0.0)
    return EvalItem(
        id=str(record.get("id", where)),
        task=str(record.get("task", where.rsplit(":", 1)[0])),
        kind=kind,
        messages=turns,
        prompt=record.get("prompt"),
        gold=str(record.get("gold", "") if gold is None else gold) if choices else str(need(record, "gold", where)),
        choices=choices,
        gold_index=place,
        parser=record.get("parser", "whole" if kind == "exact" else None),
        chance=float(chance),
        source=where,
        meta=others(record, "id", "task", "kind", "messages", "prompt", "gold", "choices", "gold_index", "parser",
                    "chance"),
    )  # fmt: skip


FORMATS: Mapping[str, Reader] = {
    "items": own_item,
    "doit": doit,
    "gsm8k": benchmarks.gsm8k,
    "svamp": benchmarks.svamp,
    "math": benchmarks.math,
    "bbh": benchmarks.bbh,
    "mmlu": benchmarks.mmlu,
    "multiple_choice": benchmarks.multiple_choice,
    "lambada": benchmarks.lambada,
    "ifeval": benchmarks.ifeval,
    "humaneval": benchmarks.humaneval,
    "mbpp": benchmarks.mbpp,
    "open": benchmarks.open_prompt,
}
"""Layouts of files that are known; whatever else there is can be written as ``items``."""


def load_items(path: Path | str, format: str = "items", limit: int | None = None) -> list[EvalItem]:
    """The items of a file.

    Args:
        path: JSON or JSONL, gzip-compressed or not, or a folder of such files, read in the order of their names.
        format: A name in :data:`FORMATS`.
        limit: Number of items of a file to stop after; all by default.

    Raises:
        ValueError: the format is unknown, a record does not fit it, or two items of a task have the same id.
    """
    if format not in FORMATS:
        raise ValueError(f"evaluation format {format!r} is none of {', '.join(FORMATS)}.")
    path = Path(path)
    items: list[EvalItem] = []
    seen: dict[tuple[str, str], str] = {}
    for file in list_files(path):
        found = 0
        for where, record in read_records(file):
            if limit is not None and found >= limit:
                break
            item = FORMATS[format](record, where)
            if item is None:
                continue
            first = seen.setdefault((item.task, item.id), where)
            if first != where:
                raise ValueError(
                    f"{where}: the id {item.id} of {item.task} was used at {first} already; ids name results."
                )
            items.append(item)
            found += 1
    if not items:
        raise ValueError(f"evaluation data: {path} holds no item of the format {format}.")
    return items
