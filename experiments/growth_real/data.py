"""Rows of five abilities from published instruction data: short ones, held-out items apart from those to train on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple


class Source(NamedTuple):
    """The file of an ability's rows, and which of them are taken."""

    file: str
    max_characters: int
    """Of instruction and answer together: the machine's time decides it."""
    chance: float | None = None
    """Probability that a blind guess is right; none where answers are free text and only their loss is reported."""
    task: str | None = None
    """Rows of this task alone."""


SOURCES = {
    "math": Source("math_levels_4500.jsonl.gz", 300),
    "code": Source("gpteacher_code_4k.jsonl.gz", 300),
    "role_play": Source("gpteacher_roleplay_2k.jsonl.gz", 600),
    "induction": Source("instruction_induction.jsonl.gz", 300, chance=0.0),
    "choice": Source("flan_cot_33k.jsonl.gz", 300, chance=0.2, task="ecqa"),
}
INDUCTION = {  # what the tasks ask, in our own words: the records hold inputs and outputs alone
    "active_to_passive": "Turn the sentence into the passive voice.",
    "antonyms": "Give a word that means the opposite.",
    "num_to_verbal": "Write the number in words.",
    "singular_to_plural": "Give the plural.",
    "larger_animal": "Which of the two animals is larger?",
    "negation": "Negate the sentence.",
}


class Row(NamedTuple):
    """An instruction, its answer, and what the source says of its difficulty."""

    prompt: str
    answer: str
    level: int


def rows(ability: str, folder: Path) -> Iterator[Row]:
    """Instructions and answers that are short enough."""
    source = SOURCES[ability]
    with gzip.open(folder / source.file, "rt", encoding="utf-8") as file:
        for line in file:
            row: dict[str, Any] = json.loads(line)
            if ability == "induction":
                if row["task"] not in INDUCTION:
                    continue
                row["instruction"] = INDUCTION[row["task"]]
            elif source.task is not None and row["task"] != source.task:
                continue
            prompt = "\n\n".join(part for part in (row["instruction"], row["input"]) if part)
            answer = str(row["answer"] if source.task is not None else row["output"])
            if answer and len(prompt) + len(answer) <= source.max_characters:
                yield Row(prompt, answer, int(row.get("level") or 0))


def write_data(folder: Path, data: Path, num_train: int, num_items: int, num_seeds: int) -> None:
    """``train.jsonl``, and for every seed its own items in ``val-<seed>.jsonl``.

    Rows are in the order of their content hash; the first are held out, seed after seed, and no item is shared.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"val-{seed}" for seed in range(num_seeds)] + ["train"]
    files = {name: (folder / f"{name}.jsonl").open("w", encoding="utf-8") for name in names}
    for ability, source in SOURCES.items():
        # One row an instruction: a held-out one must not be asked in training with another answer.
        by_prompt = {row.prompt: row for row in rows(ability, data)}
        found = sorted(by_prompt.values(), key=lambda row: blake2b(row.prompt.encode()).digest())
        needed = num_seeds * num_items + num_train
        if len(found) < needed:
            raise SystemExit(f"{source.file} has {len(found)} short rows of {ability}, {needed} are needed.")
        for number, row in enumerate(found[:needed]):
            messages = [
                {"role": "user", "content": row.prompt},
                {"role": "assistant", "content": row.answer},
            ]
            record: dict[str, Any] = {"messages": messages, "ability": ability, "level": row.level}
            if source.chance is not None:
                record["chance"] = source.chance
            name = names[min(number // num_items, num_seeds)]
            files[name].write(json.dumps(record, ensure_ascii=False) + "\n")
    for file in files.values():
        file.close()
