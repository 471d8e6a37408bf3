"""``lit-curriculum merge``: one file of scores from shards that were scored apart."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lit_curriculum.difficulty.score_store import merge_scores, read_scores


def merge_command(args: Sequence[str]) -> None:
    """Write the scores of several files that one model, encoding and set of formulas have made into one.

    Raises:
        ValueError: the files are of different models, encodings or formulas, or differ about an example.
        FileNotFoundError: one is not there.
    """
    parser = argparse.ArgumentParser(
        "lit-curriculum merge",
        description="Merge scores of shards (lit-curriculum score --shard 1/N, 2/N, ...) into one file.",
        allow_abbrev=False,
    )
    parser.add_argument("parts", nargs="+", type=Path, help="DIR/scores.parquet of each shard, or DIR")
    parser.add_argument("--out", type=Path, required=True, help="file to write, such as scores.parquet")
    given = parser.parse_args(list(args))
    parts = [read_scores(part / "scores.parquet" if part.is_dir() else part) for part in given.parts]
    merged = merge_scores(parts)
    merged.save(given.out)
    print(f"merged {len(merged)} examples of {len(parts)} files ({', '.join(merged.metrics)}): {given.out}")
