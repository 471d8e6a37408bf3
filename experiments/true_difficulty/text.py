"""What do metrics of the text alone say of true difficulty, on many rows and without a model?

Lengths are in words and characters; no token is counted and no weight read, so that thousands of rows cost seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.common import Row, print_rows, write_results
from experiments.true_difficulty import tables
from experiments.true_difficulty.figure import draw
from experiments.true_difficulty.sources import FILES, TWO_SIDED, TrueRow
from lit_curriculum.difficulty.base import TextMetric
from lit_curriculum.difficulty.mtld import MTLD
from lit_curriculum.difficulty.text_metrics import CompressionRatio, Length
from lit_curriculum.types import Example, FloatArray, Message

METRICS: Mapping[str, TextMetric] = {
    "length_instruction": Length(field="instruction", unit="words"),
    "length_response": Length(field="response", unit="words"),
    "characters_instruction": Length(field="instruction", unit="characters"),
    "characters_response": Length(field="response", unit="characters"),
    "mtld_instruction": MTLD(field="instruction"),
    "mtld_response": MTLD(field="response"),
    "compression_instruction": CompressionRatio(field="instruction"),
    "compression_response": CompressionRatio(field="response"),
}


class Texts(list[Example]):
    """Examples in a list: all that a metric of the text asks of a store."""


def main() -> None:
    """Score the rows and make the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training files")
    parser.add_argument("--out", type=Path, default=Path("results/true_difficulty_text"))
    parser.add_argument("--rows", type=int, default=3000, help="of each source at most")
    parser.add_argument("--max_characters", type=int, default=4000, help="of instruction and response together")
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="100 rows a source")
    given = parser.parse_args()
    num_rows, resamples = (100, 20) if given.quick else (given.rows, given.resamples)
    found = {}
    for source, (file, read) in FILES.items():
        rows = read(given.data / file, num_rows, given.max_characters)
        measure = tables.areas if source in TWO_SIDED else tables.correlations
        found[source] = measure(rows, text_scores(rows), resamples)
    rows_out: list[Row] = [row for source, metrics in found.items() for row in tables.results(source, metrics)]
    options = {"rows": num_rows, "max_characters": given.max_characters, "resamples": resamples,
               "metrics": {name: metric.formula for name, metric in METRICS.items()}}  # fmt: skip
    write_results(given.out, rows_out, options, [given.data / file for file, _ in FILES.values()])
    (given.out / "table.md").write_text(tables.markdown(found), encoding="utf-8")
    draw(found, given.out / "true_difficulty_text.png")
    print_rows(rows_out)


def text_scores(rows: list[TrueRow]) -> dict[str, FloatArray]:
    """Metric -> [N], turned so that more is harder."""
    texts = Texts(
        Example(
            index=k, id=r.id, content_hash="",
            messages=(Message(role="user", content=r.instruction), Message(role="assistant", content=r.response)),
        )
        for k, r in enumerate(rows)
    )  # fmt: skip
    return {
        name: np.asarray(metric.score(texts)) * (1 if metric.higher_is_harder else -1)  # type: ignore[arg-type]
        for name, metric in METRICS.items()
    }


if __name__ == "__main__":
    main()
