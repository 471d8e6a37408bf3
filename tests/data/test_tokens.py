"""A store over tokenised rows: views, hashes, texts, and the sampler that yields plain indices."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum.data.sampler import CurriculumSampler
from lit_curriculum.data.tokens import TokenStore
from lit_curriculum.types import CONDITIONED, UNCONDITIONED, Plan

ROWS = [
    {"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]},
    {"input_ids": [9, 3], "labels": [9, 3]},
    {"input_ids": [4, 4], "labels": [-100, -100]},
]


def test_views_follow_the_labels() -> None:
    store = TokenStore(ROWS, abilities=["a", None, "b"])
    assert len(store) == 3
    assert store.encoded(0, CONDITIONED).input_ids.tolist() == [5, 6, 7, 8]
    assert store.encoded(0, CONDITIONED).scored.tolist() == [False, False, True, True]
    assert store.encoded(0, UNCONDITIONED).input_ids.tolist() == [7, 8]
    assert store.encoded(0, UNCONDITIONED).scored.tolist() == [False, True]
    # Nothing precedes the first token, whatever its label.
    assert store.num_scored(CONDITIONED).tolist() == [2, 1, 0]
    assert store.lengths(UNCONDITIONED).tolist() == [2, 1, 0]
    assert store.num_scored(UNCONDITIONED).tolist() == [1, 0, 0]
    assert list(store.abilities) == ["a", None, "b"]


def test_hashes_name_the_content() -> None:
    store, again = TokenStore(ROWS), TokenStore(list(reversed(ROWS)))
    assert store.content_hashes.tolist() == again.content_hashes.tolist()[::-1]
    assert len(set(store.content_hashes.tolist())) == 3
    unscored = TokenStore([{"input_ids": [5, 6, 7, 8], "labels": [-100, -100, -100, 8]}])
    assert unscored.content_hashes[0] != store.content_hashes[0]
    assert store[1].id == "row-1"
    assert TokenStore(ROWS, ids=["x", "y", "z"])[1].id == "y"


def test_text_comes_from_the_tokens() -> None:
    example = TokenStore(ROWS, decode=lambda ids: " ".join(str(i) for i in ids))[0]
    assert (example.instruction, example.response) == ("5 6", "7 8")
    assert TokenStore(ROWS)[0].messages == ()


def test_rows_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ValueError, match="TokenStore was given no rows"):
        TokenStore([])
    with pytest.raises(ValueError, match="row 0 has 2 tokens and 1 labels"):
        TokenStore([{"input_ids": [1, 2], "labels": [1]}])


def test_a_sampler_of_plain_indices() -> None:
    parts = [CurriculumSampler(9, 2, rank, 4, weighted=False) for rank in range(2)]
    for part in parts:
        part.set_plan(Plan(indices=np.array([8, 1, 3, 5, 0])), 0)
    assert [list(part) for part in parts] == [[8, 3, 0], [1, 5, 0]]
    parts[0].set_plan(Plan(indices=np.array([2]), weights=np.ones(1, dtype=np.float32)), 0)
    with pytest.raises(ValueError, match="the plan of stage 3 weighs examples"):
        parts[0].set_plan(Plan(indices=np.array([2]), weights=np.full(1, 2.0, dtype=np.float32)), 3)
