"""Numbers of our runs that a guide quotes are those of the files in results/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HF = "ours, packed over Hugging Face Trainer, grouped by length: in processor time"
TRL = "ours, packed over TRL SFTTrainer, packed: in processor time"
BATCH_1 = "ours, float32 over batch 1, two passes, float32: speed"
PADDED = "ours, float32 over batch 8 in file order, all logits, two passes, float32: speed"
THIRDS = ("first", "second", "last")


def numbers(folder: str) -> dict[str, float]:
    rows: list[dict[str, Any]] = json.loads((ROOT / "results" / folder / "results.json").read_text())
    return {row["name"]: row["value"] for row in rows}


def percents(found: dict[str, float], name: str) -> str:
    """Least and most of the three thirds of a run."""
    values = [100 * found[f"{name}, {third} third of the stages"] for third in THIRDS]
    return f"{min(values):.0f} to {max(values):.0f} %"


def training() -> str:
    found = numbers("training_benchmark")
    return f"{found[HF]:.1f} and {found[TRL]:.1f} times less CPU time"


def scoring() -> str:
    found = numbers("scoring_benchmark")
    return f"{found[BATCH_1]:.1f} times batch 1 and {found[PADDED]:.1f} times padded rows of eight"


def scoring_of_more_rows() -> str:
    return f"the last is {numbers('scoring_benchmark_96')[PADDED]:.1f} times"


def refresh() -> str:
    found = numbers("budgeted_refresh")
    saved = [percents(found, f"confidence {confidence}: candidates not scored") for confidence in ("0.95", "0.50")]
    wrong = [percents(found, f"confidence {confidence}: wrong choices, found") for confidence in ("0.95", "0.50")]
    stated = percents(found, "confidence 0.50: wrong choices, stated at most")
    assert wrong[0] == "0 to 0 %"
    assert not any(value for name, value in found.items() if "more found than stated" in name and "rate" not in name)
    return (
        f"{saved[0]} at the default with no wrong choice, {saved[1]} with {wrong[1]} wrong ({stated} stated) at "
        "`confidence: 0.5`, and in no refresh more than was stated"
    )


@pytest.mark.parametrize(
    ("page", "quoted"), [("cost", training), ("scoring", scoring), ("scoring", scoring_of_more_rows), ("cost", refresh)]
)
def test_a_guide_quotes_the_files_of_results(page: str, quoted: Any) -> None:
    text = " ".join((ROOT / "docs" / "guides" / f"{page}.md").read_text().split())
    assert quoted() in text, f"docs/guides/{page}.md has to quote: {quoted()}"


LIMIT, LIMIT_HEAD = "limit: dense forward", "limit: dense forward, head on our share of positions"
LINES = {
    "batch 1, two passes": "ours, float32 over batch 1, two passes, float32",
    "rows of 8 in file order, all logits, two passes": PADDED.removesuffix(": speed"),
    "`wana` 0.5.1, 4-bit weights": "ours, float32 over wana 0.5.1 (llama.cpp, 4-bit weights), q4_1",
    "dense forward of unpadded rows, the machine's limit": f"ours, float32 over {LIMIT}, float32",
    "the same with the head on our share of positions": f"ours, float32 over {LIMIT_HEAD}, float32",
    "ours with bfloat16 weights over ours in float32": "ours, bfloat16 over ours, float32",
}


@pytest.mark.parametrize("line", LINES)
def test_the_table_of_the_scoring_benchmark_says_what_its_files_say(line: str) -> None:
    text = (ROOT / "experiments" / "benchmarks" / "README.md").read_text()
    cells = next(row for row in text.splitlines() if row.startswith(f"| {line} |")).split("|")[2:4]
    for cell, folder in zip(cells, ("scoring_benchmark", "scoring_benchmark_96"), strict=True):
        rows = json.loads((ROOT / "results" / folder / "results.json").read_text())
        row = next(r for r in rows if r["name"] == f"{LINES[line]}: speed")
        assert cell.strip() == f"{row['value']:.2f} times [{row['low']:.2f}, {row['high']:.2f}]"
