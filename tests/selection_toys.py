"""Hand-checked toys of the selection, and the few lines that run a policy on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.iterit.novelty import ngram_counts, tfidf
from lit_curriculum.methods.iterit.policy import IterITPolicy
from lit_curriculum.types import make_generator
from tests.conftest import ListStore, make_example

END = "<|end_of_text|>"
FAITHFUL: dict[str, Any] = {"ties": "row", "score_dtype": "bfloat16", "shuffle": "none"}
TOY_A = [
    ("the cat sat on the mat", 0.875),
    ("the cat sat on the rug", 0.9375),
    ("quantum field theory explains particle interactions", 0.625),
    ("the dog ran", 0.75),
    ("bad sample", 1.25),
]
TOY_B = [
    ("net rope fish a boat sun net", 1.125),
    ("boat i sun i sail i wind", 0.9375),
    ("salt salt net fish", 0.5625),
    ("sun sail red i sun wind", 0.75),
    ("sail rope sail i", 0.625),
    ("red a sun fish net sea net", 0.75),
]
TOY_B2 = [
    ("blue red boat sun", 0.875),
    ("sea fish red blue", 0.8125),
    ("red boat sun", 0.75),
    ("blue red boat boat red sun", 0.8125),
    ("fish blue", 0.9375),
    ("red blue red boat", 1.125),
    ("sun boat sea sun", 0.875),
]
TOY_C_IFD = [0.5, 0.9375, 1.25, 0.75, 0.875, 0.625, 1.0, 0.6875]
TOY_C_AGAIN = {1: 0.5, 4: 0.8125, 2: 0.90625, 6: 1.125}


def ngram_weights(texts: Sequence[str]) -> sparse.csr_array:
    return tfidf(ngram_counts(texts))


def corpus(generator: np.random.Generator, num_texts: int, num_words: int, longest: int) -> list[str]:
    """Texts of 0 to ``longest`` words, a few of them very frequent."""
    return [
        " ".join(f"w{k}" for k in generator.zipf(1.3, generator.integers(0, longest + 1)).clip(max=num_words))
        for _ in range(num_texts)
    ]


def make_store(responses: Sequence[str]) -> ListStore:
    return ListStore([make_example(i, text, f"Question {i}?") for i, text in enumerate(responses)])


def started(responses: list[str], ifd: list[float], **options: Any) -> tuple[IterITPolicy, DifficultyTable]:
    policy = IterITPolicy(**options)
    policy.setup(make_store(responses), num_stages=3)
    table = DifficultyTable(len(responses), ["ifd"])
    candidates = policy.candidates(table, 0)
    assert candidates.tolist() == list(range(len(responses)))
    table.enter("ifd", candidates, np.array(ifd), 0)
    return policy, table


def step(policy: IterITPolicy, table: DifficultyTable, stage: int, seed: int = 0) -> list[int]:
    return policy.step(table, stage, make_generator(seed, stage, "policy")).indices.tolist()


def order_of(policy: IterITPolicy) -> list[int]:
    order: list[int] = policy.state_dict()["order"].tolist()
    return order


def random_run(num: int = 40, **options: Any) -> tuple[IterITPolicy, DifficultyTable]:
    generator = np.random.default_rng(5)
    texts = [" ".join(f"w{k}" for k in generator.integers(0, 40, 6)) for _ in range(num)]
    return started(texts, generator.uniform(0.3, 1.2, num).tolist(), **({"fraction": 0.2} | options))
