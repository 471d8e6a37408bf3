"""How long MTLD takes over the responses of a data set, tokenising included, beside the lexicalrichness package.

python -m experiments.benchmarks.mtld --out DIR [--quick] [--data FILE]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from lexicalrichness import LexicalRichness

from experiments.benchmarks.selection import synthetic_texts
from experiments.common import Row, benchmark_options, print_rows, read_responses, time_interleaved, write_results
from lit_curriculum.difficulty.mtld import MTLD
from lit_curriculum.difficulty.words import WordSplitter

PACKAGE_SHARE = 20


def measure(label: str, texts: Sequence[str], rounds: int) -> list[Row]:
    """All rows for one set of texts; the package is timed on every 20th text."""
    ours = MTLD(words="ascii_letters", variant="lexicalrichness")
    split = WordSplitter("ascii_letters")
    part = [text for text in texts[::PACKAGE_SHARE] if split(text)]

    def package() -> list[float]:
        lexicons = (LexicalRichness(split(text), preprocessor=None, tokenizer=None) for text in part)
        return [lexicon.mtld(threshold=0.72) for lexicon in lexicons]

    timings = time_interleaved(
        {
            "default": lambda: [MTLD().score_text(text) for text in texts],
            "words": lambda: [WordSplitter()(text) for text in texts],
            "package": package,
            "part": lambda: [ours.score_text(text) for text in part],
        },
        rounds,
    )
    difference = np.abs(np.array(package()) - np.array([ours.score_text(text) for text in part])).max()
    num_words = sum(len(WordSplitter()(text)) for text in texts)
    rows: list[Row] = [
        {"name": f"{label}: texts", "value": len(texts), "unit": "texts"},
        {"name": f"{label}: words", "value": num_words, "unit": "words"},
    ]
    rows += timings["default"].rows(f"{label}: MTLD with tokenising")
    rows += timings["words"].rows(f"{label}: of it tokenising")
    rows += timings["part"].rows(f"{label}: MTLD of {len(part)} texts, ours")
    rows += timings["package"].rows(f"{label}: MTLD of {len(part)} texts, lexicalrichness")
    rows.append(
        {"name": f"{label}: largest difference from lexicalrichness", "value": float(difference), "unit": "words"}
    )
    return rows


def main() -> None:
    options, files = benchmark_options(__doc__, quick="1,000 texts, to see that it runs")
    num, rounds = (1_000, 2) if options.quick else (17_900, 5)
    rows = measure("synthetic", synthetic_texts(num), rounds)
    for file in files:
        rows += measure(file.name, read_responses(file, num), rounds)
    config = {"rounds": rounds, "formula": MTLD().formula, "text_seed": 0, "quick": options.quick}
    path = write_results(options.out, rows, config, files)
    print_rows(rows)
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
