"""How often does a local model, asked as TAPIR's pair judge, prefer the answer that people prefer?

python -m experiments.judge_agreement.run --data preference_pairs.jsonl.gz --source SOURCE --out DIR [--quick]
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from experiments.common import Row, print_rows, write_results
from lit_curriculum.chat.client import render_costs
from lit_curriculum.chat.local_client import LocalClient
from lit_curriculum.chat.reply_cache import CachedClient
from lit_curriculum.data.records import read_records
from lit_curriculum.methods.tapir.judging import judge_items
from lit_curriculum.methods.tapir.roles import JudgeItem, Judgement
from lit_curriculum.methods.tapir.teacher.judge import LikelihoodJudge, PromptJudge, parse_scores

SEED = 0
MAX_CHARACTERS = 800
"""Of a prompt with both answers: longer pairs are left out, for time."""


def preferred(row: dict[str, Any]) -> int:
    """1 or 2 as people prefer, 0 where they don't agree."""
    if row.get("label") in (1, 2):
        return int(row["label"])
    votes = row.get("annotators") or []
    name, count = Counter(int(v) for v in (votes.values() if isinstance(votes, dict) else votes)).most_common(1)[0]
    return name if count >= 2 else 0


def choose(path: Path, num_pairs: int) -> list[tuple[JudgeItem, bool]]:
    """Pairs on which people agree, half from each source, and whether the reference is the preferred answer."""
    rows: list[dict[str, Any]] = [dict(r.fields) for r in read_records([str(path)]) if r.fields is not None]
    # An answer such as "true" has been published as a JSON value, not as text.
    for row in rows:
        row |= {name: str(row[name]) for name in ("prompt", "output_1", "output_2")}
    rng = np.random.default_rng(SEED)
    chosen: list[tuple[JudgeItem, bool]] = []
    for source in ("llmbar", "pandalm"):
        fitting = [
            r
            for r in rows
            if r["source"] == source
            and preferred(r)
            and len(r["prompt"]) + len(r["output_1"]) + len(r["output_2"]) <= MAX_CHARACTERS
        ]
        for place in rng.choice(len(fitting), size=num_pairs // 2, replace=False):
            row = fitting[place]
            chosen.append((JudgeItem(row["prompt"], row["output_1"], row["output_2"]), preferred(row) == 1))
    return chosen


def share(name: str, hits: int, total: int) -> list[Row]:
    """A share with Wilson's 95 % interval; no row where there is nothing to count."""
    if total == 0:
        return []
    low, high = binomtest(hits, total).proportion_ci(method="wilson")
    return [{"name": name, "value": hits / total, "unit": "share", "low": float(low), "high": float(high), "n": total}]


def measure(name: str, judgements: Sequence[Judgement], pairs: Sequence[tuple[JudgeItem, bool]]) -> list[Row]:
    """What one judge's judgements of the pairs come to.

    Args:
        name: Of the judge, before each row's name.
        judgements: One for each pair.
        pairs: Reference and candidate, and whether people prefer the reference.
    """
    valid = [(j, first) for j, (_, first) in zip(judgements, pairs, strict=True) if j.valid]
    untied = [(j, first) for j, first in valid if j.score_teacher != j.score_student]
    agreeing = sum((j.score_teacher > j.score_student) == first for j, first in untied)
    both = [[parse_scores(text) for text in j.raw] for j in judgements]
    read = [scores for orders in both for scores in orders if scores is not None]
    unequal = [s for s in read if s[0] != s[1]]
    # The second order shows the answers swapped, so the same answer is preferred where the places differ.
    clear = [(a[0] > a[1], b[0] > b[1]) for a, b in both if a and b and a[0] != a[1] and b[0] != b[1]]
    return [
        *share(f"{name}: single judgements that can be read", len(read), 2 * len(pairs)),
        *share(f"{name}: pairs judged in both orders", len(valid), len(pairs)),
        *share(f"{name}: of them with equal mean scores", len(valid) - len(untied), len(valid)),
        *share(f"{name}: agreement with people, of pairs with unequal scores", agreeing, len(untied)),
        *share(f"{name}: same answer preferred in both orders", sum(a != b for a, b in clear), len(clear)),
        *share(f"{name}: first-placed answer preferred", sum(a > b for a, b in unequal), len(unequal)),
    ]  # fmt: skip


def main() -> None:
    """Run it; judgements are kept in ``--cache``, so a run that was killed resumes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--source", required=True, help="local model: folder, hub id or GGUF file")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/judge_agreement"), help="folder")
    parser.add_argument("--dtype", default="bfloat16", help="of the model's weights")
    parser.add_argument("--pairs", type=int, default=120, help="pairs for the judge that is read off probabilities")
    parser.add_argument("--text_pairs", type=int, default=16, help="pairs for the judge that writes")
    parser.add_argument("--quick", action="store_true", help="4 pairs, 2 of them in writing")
    given = parser.parse_args()
    num_pairs, num_text = (4, 2) if given.quick else (given.pairs, given.text_pairs)
    pairs, text_pairs = choose(given.data, num_pairs), choose(given.data, num_text)
    local = LocalClient(given.source, dtype=given.dtype, batch_size=16)
    client = CachedClient(local, str(given.cache / "replies.jsonl"))
    by_text = PromptJudge(client, max_tokens=96, retries=1)
    by_probability = LikelihoodJudge(local)
    expected = judge_items(by_probability, [item for item, _ in pairs], given.cache / "judgements.jsonl")
    rows = measure("expected score", expected, pairs)
    written = by_text.judge([item for item, _ in text_pairs])
    rows += measure("written, after one retry", written, text_pairs)
    config = {
        "model": given.source.rsplit("/", 1)[-1], "dtype": given.dtype, "max_characters": MAX_CHARACTERS, "seed": SEED,
        "expected score": {"prompt": by_probability.prompt.version, "pairs": num_pairs},
        "written": {"prompt": by_text.prompt.version, "pairs": num_text, "max_tokens": 96, "retries": 1},
    }  # fmt: skip
    write_results(given.out, rows, config, [given.data])
    (given.out / "costs.md").write_text(render_costs(client.cache.paid), encoding="utf-8")
    print_rows(rows)


if __name__ == "__main__":
    main()
