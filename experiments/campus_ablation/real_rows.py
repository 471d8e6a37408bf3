"""Short real instructions of three sources: training rows drawn by a seed, held-out rows the same for every seed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

FILES = {
    "induction": "instruction_induction.jsonl.gz",
    "alpaca": "alpaca_18k.jsonl.gz",
    "dolly": "dolly_3k.jsonl.gz",
}
INSTRUCTIONS = "instruction_induction_meta.jsonl.gz"
EXACT = {"induction"}
"""Sources whose answers are right or wrong."""
TASKS = (
    "active_to_passive", "antonyms", "diff", "first_word_letter", "larger_animal", "letters_list", "negation",
    "num_to_verbal", "second_word_letter", "sentiment", "singular_to_plural", "sum",
)  # fmt: skip
MAX_CHARACTERS = 140
"""Of prompt and answer together, so that a row is some 33 tokens long."""

Row = tuple[str, str]


def files(data: Path) -> list[Path]:
    """What is read of the folder ``data``."""
    return [data / name for name in (*FILES.values(), INSTRUCTIONS)]


def write_rows(data: Path, folder: Path, num_train: int, num_held_out: int, seed: int) -> tuple[Path, Path]:
    """Write ``train.jsonl`` and ``held_out.jsonl``, the sources in equal parts; returns both paths.

    Held-out rows come first in an order by hash, those of instruction induction from its authors' test split. No
    training row has the prompt of a held-out one.

    Args:
        data: Folder of the training data.
        folder: Where to write.
        num_train: Training rows in all.
        num_held_out: Held-out rows of each source.
        seed: Draws the training rows.

    Raises:
        ValueError: a source has too few short rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    train, held_out = folder / "train.jsonl", folder / "held_out.jsonl"
    count = num_train // len(FILES)
    with train.open("w", encoding="utf-8") as train_file, held_out.open("w", encoding="utf-8") as held_out_file:
        for source in FILES:
            tests = _by_hash(_rows(source, data, "test"), "held out")[:num_held_out]
            taken = {prompt for prompt, _ in tests}
            rest = [row for row in _rows(source, data, "train") if row[0] not in taken]
            drawn = _by_hash(rest, f"train {seed}")[:count]
            if len(tests) < num_held_out or len(drawn) < count:
                raise ValueError(
                    f"--data {data}: {FILES[source]} has {len(tests)} and {len(drawn)} rows of up to {MAX_CHARACTERS} "
                    f"characters to hold out and to train on, but {num_held_out} and {count} are asked for."
                )
            for file, rows in ((train_file, drawn), (held_out_file, tests)):
                for prompt, answer in rows:
                    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
                    file.write(json.dumps({"messages": turns, "ability": source}) + "\n")
    return train, held_out


def _rows(source: str, data: Path, split: str) -> Iterator[Row]:
    """Short rows of one source; only instruction induction has splits in its data."""
    asked = {r["task"]: r["instructions"][0] for r in _lines(data / INSTRUCTIONS)}
    for row in _lines(data / FILES[source]):
        if source == "induction":
            if row["task"] not in TASKS or row["split"] != split:
                continue
            row["instruction"] = asked[row["task"]]
        elif source == "alpaca" and not row["random9k"]:
            continue  # the others are there because some method chose them
        prompt = "\n\n".join(part for part in (row["instruction"], row["input"]) if part)
        if row["output"] and len(prompt) + len(row["output"]) <= MAX_CHARACTERS:
            yield prompt, row["output"]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _by_hash(rows: Iterator[Row] | list[Row], salt: str) -> list[Row]:
    """Distinct rows in an order that depends on their text and ``salt`` alone."""
    return sorted(dict.fromkeys(rows), key=lambda row: blake2b("\0".join((salt, *row)).encode()).digest())
