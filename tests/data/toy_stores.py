"""Encoded stores of a few examples, and what compares them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lit_curriculum.data.cache import build_store
from lit_curriculum.data.encode import EncodeOptions, Encoder
from lit_curriculum.data.formats import to_example
from lit_curriculum.data.problems import ProblemPolicy, ProblemReport
from lit_curriculum.data.store import EncodedStore
from lit_curriculum.data.template import resolve_template
from lit_curriculum.types import CONDITIONED, UNCONDITIONED, Example
from tests.data.toy_tokenizers import byte_level

VIEWS = (CONDITIONED, UNCONDITIONED)


def make_encoder(**options: Any) -> Encoder:
    return Encoder(resolve_template(byte_level(), "headings"), EncodeOptions(**{"max_length": 200, **options}))


def make_examples(count: int, start: int = 0) -> list[Example]:
    out = []
    for n in range(start, start + count):
        fields: dict[str, Any] = {"instruction": f"Ask {n}", "output": "é" * (n % 7 + 1), "id": f"x{n}", "level": n}
        if n % 3:
            fields["task"] = f"t{n % 3}"
        if n % 5 == 0:
            fields["history"] = [["before", "yes"]]
        out.append(to_example(fields, f"f.jsonl:{n + 1}", index=n))
    return out


def build(
    folder: Path,
    examples: Sequence[Example],
    encoder: Encoder | None = None,
    report: ProblemReport | None = None,
    policy: ProblemPolicy | None = None,
) -> EncodedStore:
    return build_store(
        examples, encoder or make_encoder(), policy or ProblemPolicy(), report or ProblemReport(), folder
    )


def assert_same(store: EncodedStore, examples: Sequence[Example], encoder: Encoder) -> None:
    """Slow reference implementation of the store: encode each example alone, read the rest from the example."""
    assert len(store) == len(examples)
    assert store.content_hashes.dtype == np.dtype("S32")
    assert store.content_hashes.tolist() == [e.content_hash.encode() for e in examples]
    assert list(store.abilities) == [e.ability for e in examples]
    lengths = {view: store.lengths(view) for view in VIEWS}
    counts = {view: store.num_scored(view) for view in VIEWS}
    assert all(a.dtype == np.int64 for a in (*lengths.values(), *counts.values()))
    for n, example in enumerate(examples):
        assert store[n] == example
        alone = encoder.encode([example.messages])[0]
        for view, expected in zip(VIEWS, (alone.conditioned, alone.unconditioned), strict=True):
            found = store.encoded(n, view)
            assert found.input_ids.dtype == np.int32
            assert found.input_ids.tolist() == expected.input_ids.tolist()
            assert found.scored.tolist() == expected.scored.tolist()
            assert lengths[view][n] == len(expected.input_ids)
            assert counts[view][n] == expected.scored.sum()
