"""How well do the task classifiers recover the eight task types that people gave to Dolly's instructions?

python -m experiments.task_classifier.run --data dolly_3k.jsonl.gz --out DIR [--encoder FOLDER] [--quick]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, f1_score
from typing_extensions import TypedDict

from experiments.common import Row, print_rows, write_results
from lit_curriculum.data.records import read_records
from lit_curriculum.methods.tapir.teacher.classifier import LinearTaskClassifier
from lit_curriculum.methods.tapir.teacher.hf_classifier import HFTaskClassifier
from lit_curriculum.utils.jsonl_log import JsonlLog

NUM_FOLDS = 5
SEED = 0


class Cell(TypedDict):
    """One finished fold of one classifier."""

    name: str
    fold: int
    labels: list[str]


def read(path: Path) -> tuple[list[str], list[str]]:
    """Instructions with their input, and their task types."""
    rows = [r.fields for r in read_records([str(path)]) if r.fields is not None]
    texts = ["\n\n".join(part for part in (str(r["instruction"]), str(r["input"] or "")) if part) for r in rows]
    return texts, [str(r["task"]) for r in rows]


def cells(
    out: Path, texts: Sequence[str], labels: Sequence[str], fold_of: np.ndarray, encoder: str | None, encoder_rows: int
) -> list[Cell]:
    """The predictions of every fold, read from ``cells.jsonl`` where they are there already."""
    log: JsonlLog[tuple[str, int], Cell] = JsonlLog(out / "cells.jsonl", lambda c: ((c["name"], c["fold"]), c), "cell")
    wanted = [("linear", fold) for fold in range(NUM_FOLDS)] + ([("encoder", 0)] if encoder is not None else [])
    for name, fold in wanted:
        if (name, fold) in log.entries:
            continue
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        classifier = (
            LinearTaskClassifier()
            if name == "linear"
            else HFTaskClassifier(str(encoder), max_length=64, epochs=1, batch_size=16, learning_rate=3e-4)
        )
        if name == "encoder":
            train = train[:encoder_rows]  # rows are in random order
        classifier.fit([texts[i] for i in train], [labels[i] for i in train])
        log.append([{"name": name, "fold": fold, "labels": classifier.predict([texts[i] for i in test]).labels}])
    return list(log.entries.values())


def measure(name: str, truth: Sequence[str], found: Sequence[str]) -> list[Row]:
    """Accuracy with Wilson's interval, and the unweighted mean of F1 over types."""
    hits = sum(a == b for a, b in zip(truth, found, strict=True))
    f1 = float(f1_score(truth, found, average="macro"))
    low, high = binomtest(hits, len(truth)).proportion_ci(method="wilson")
    return [
        {"name": f"{name}: accuracy", "value": hits / len(truth), "unit": "share", "low": float(low),
         "high": float(high), "n": len(truth)},
        {"name": f"{name}: mean F1 of the types", "value": f1, "unit": "share"},
    ]  # fmt: skip


def confusion_table(truth: Sequence[str], found: Sequence[str]) -> str:
    """A markdown table: a row is the type that people gave, a column the type that was found."""
    types = sorted(set(truth))
    counts = confusion_matrix(truth, found, labels=types)
    lines = ["| given \\ found | " + " | ".join(types) + " |", "| --- |" + " ---: |" * len(types)]
    lines += [f"| {t} | " + " | ".join(str(c) for c in row) + " |" for t, row in zip(types, counts, strict=True)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Dolly's rows with their task")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--encoder", help="folder of an encoder to fine-tune on the first fold's training rows")
    parser.add_argument("--encoder_rows", type=int, default=10_000, help="of them at most, for time")
    parser.add_argument(
        "--save", help="folder for the linear classifier trained on all rows, to be named as its source"
    )
    parser.add_argument("--quick", action="store_true", help="300 rows")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    texts, labels = read(given.data)
    if given.quick:
        texts, labels = texts[:300], labels[:300]
    if given.save is not None:
        classifier = LinearTaskClassifier()
        classifier.fit(texts, labels)
        classifier.save(given.save)
    fold_of = np.random.default_rng(SEED).permutation(len(texts)) % NUM_FOLDS
    done = cells(given.out, texts, labels, fold_of, given.encoder, given.encoder_rows)
    common = max(labels, key=labels.count)
    rows = measure("always the most frequent type", labels, [common] * len(labels))
    page = ""
    truth = [labels[i] for f in range(NUM_FOLDS) for i in np.flatnonzero(fold_of == f)]
    linear = sorted((c for c in done if c["name"] == "linear"), key=lambda c: c["fold"])
    found = [label for c in linear for label in c["labels"]]
    rows += measure("linear, five folds", truth, found)
    page += "Linear, five folds:\n\n" + confusion_table(truth, found)
    held_out = [labels[i] for i in np.flatnonzero(fold_of == 0)]
    for cell in done:
        if cell["name"] == "encoder":
            rows += measure("linear, first fold", held_out, linear[0]["labels"])
            rows += measure("fine-tuned encoder, first fold", held_out, cell["labels"])
            page += "\nFine-tuned encoder, first fold:\n\n" + confusion_table(held_out, cell["labels"])
    (given.out / "confusion.md").write_text(page, encoding="utf-8")
    config = {"folds": NUM_FOLDS, "seed": SEED, "quick": given.quick,
              "encoder_rows": min(given.encoder_rows, int(np.sum(fold_of != 0))),
              "encoder": Path(given.encoder or "none").parent.name,
              "encoder_options": "1 epoch, batch 16, AdamW 3e-4, 64 tokens"}  # fmt: skip
    write_results(given.out, rows, config, [given.data])
    print_rows(rows)


if __name__ == "__main__":
    main()
