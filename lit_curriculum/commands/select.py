"""Commands on stored scores: ``lit-curriculum merge`` joins files, ``lit-curriculum select`` chooses by them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lit_curriculum.commands.configured import check_scores, refuse_learned
from lit_curriculum.curriculum.reasons import entry_reasons
from lit_curriculum.difficulty.score_store import merge_scores, read_scores
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import Example, ExampleStore, Plan
from lit_curriculum.utils.command_parser import CommandParser
from lit_curriculum.utils.files import atomic_path


def merge_command(args: Sequence[str]) -> None:
    """``lit-curriculum merge``: join files of scores of one model, encoding and set of formulas into one.

    Raises:
        ValueError: the files are of different models, encodings or formulas, or differ about an example.
        FileNotFoundError: one is not there.
    """
    parser = CommandParser(
        "merge", "Merge scores of shards (lit-curriculum score --shard 1/N, 2/N, ...) into one file."
    )
    parser.add_argument("parts", nargs="+", type=Path, help="DIR/scores.parquet of each shard, or DIR")
    parser.add_argument("--out", type=Path, required=True, help="file to write, such as scores.parquet")
    given = parser.parse_args(args)
    parts = [read_scores(part / "scores.parquet" if part.is_dir() else part) for part in given.parts]
    merged = merge_scores(parts)
    merged.save(given.out)
    print(f"merged {len(merged)} examples of {len(parts)} files ({', '.join(merged.metrics)}): {given.out}")


def select_command(args: Sequence[str]) -> None:
    """Write what ``curriculum.policy`` would train on in its first stage; no weights are read.

    Started as several processes, the first one does it and the others end at once.

    Each line of ``--out`` holds id, messages, weight, rank (1 is trained on first), the scores, the reason for the
    pick, ability and source, and every other field of the record.

    Raises:
        ValueError: the scores are not of these data, this encoding or these formulas.
    """
    from lit_curriculum.commands.run import CurriculumCLI, curriculum_of, training_examples

    parser = CommandParser("select", "Write the examples that a policy chooses from stored scores.", takes_run=True)
    parser.add_argument("--scores", type=Path, default=None, help="DIR/scores.parquet of lit-curriculum score")
    parser.add_argument("--out", type=Path, required=True, help="JSONL file to write")
    own, rest = parser.parse_with_run(args)
    cli = CurriculumCLI(rest, run=False)
    if not cli.trainer.is_global_zero:
        return  # there is one choice and one file, and nothing here that processes could share
    stored = None if own.scores is None else read_scores(own.scores)
    planner = curriculum_of(cli.trainer).planner
    refuse_learned(planner.metrics, "select")
    examples = training_examples(cli.trainer, cli.model, cli.datamodule)
    planner.setup(examples, cli.trainer.max_epochs or 1)
    if stored is not None:
        check_scores(stored, {n: m.formula for n, m in planner.metrics.items()}, examples)
        stored.enter(planner.table, examples)
    planner.score_texts()
    for name in planner.policy.required_metrics:
        if planner.table.never_scored(name).any():
            there = "--scores is not given" if stored is None else f"{own.scores} holds only {sorted(stored.metrics)}"
            raise ValueError(
                f"the policy reads the metric {name!r}, but {there}; score the data with it (lit-curriculum score)."
            )
    plan, table, policy = planner.plan(0).plan, planner.table, planner.policy
    _write(own.out, _lines(examples, table, plan, entry_reasons(policy, table, plan)))
    print(f"selected {len(plan)} of {len(examples)} examples with {type(policy).__name__}: {own.out}")


def _lines(
    examples: ExampleStore, table: DifficultyTable, plan: Plan, reasons: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for place, index in enumerate(plan.indices.tolist()):
        scores = {name: float(v[index]) if np.isfinite(v[index]) else None for name, v in table.scores.items()}
        weight = 1.0 if plan.weights is None else float(plan.weights[place])
        yield _line(examples[index], {"weight": weight, "rank": place + 1, "scores": scores, "reason": reasons[place]})


def _line(example: Example, decision: dict[str, Any]) -> dict[str, Any]:
    """What is ours first; a field of the record with the same name keeps its value under ``record``."""
    line: dict[str, Any] = {
        "id": example.id,
        "messages": [{"role": m.role, "content": m.content} for m in example.messages],
        **decision,
        "ability": example.ability,
        "source": example.source,
    }
    taken = {k: v for k, v in example.meta.items() if k in line}
    others = {k: v for k, v in example.meta.items() if k not in line}
    return line | others | ({"record": taken} if taken else {})


def _write(path: Path, lines: Iterator[dict[str, Any]]) -> None:
    with atomic_path(path) as draft, draft.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
