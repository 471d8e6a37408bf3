"""Parts of a data set: views of the whole, and shards that hold every example once."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum.commands.score import shard
from lit_curriculum.types import CONDITIONED, Example, Subset
from tests.conftest import ListStore, make_example


def test_a_subset_shows_the_same_examples(toy_store: ListStore) -> None:
    chosen = np.array([7, 3, 39])
    part = Subset(toy_store, chosen)
    assert len(part) == 3
    assert part.identity == {}
    for place, index in enumerate(chosen):
        assert part[place] is toy_store[int(index)]
        assert part.abilities[place] == toy_store.abilities[index]
        assert part.content_hashes[place] == toy_store.content_hashes[index]
        assert part.lengths(CONDITIONED)[place] == toy_store.lengths(CONDITIONED)[index]
        assert part.num_scored(CONDITIONED)[place] == toy_store.num_scored(CONDITIONED)[index]
        np.testing.assert_array_equal(
            part.encoded(place, CONDITIONED).input_ids, toy_store.encoded(int(index), CONDITIONED).input_ids
        )


@pytest.mark.parametrize("of", [1, 2, 5])
def test_shards_hold_every_example_once_and_equal_ones_together(toy_examples: list[Example], of: int) -> None:
    examples = toy_examples + [make_example(40 + i, e.response, e.instruction) for i, e in enumerate(toy_examples)]
    parts = [shard(ListStore(examples), number, of) for number in range(1, of + 1)]
    assert sorted(i for part in parts for i in part.indices.tolist()) == list(range(80))
    hashes = [set(part.content_hashes.tolist()) for part in parts]
    assert sum(len(h) for h in hashes) == len(set().union(*hashes))
    backwards = [shard(ListStore(examples[::-1]), number, of) for number in range(1, of + 1)]
    assert [set(part.content_hashes.tolist()) for part in backwards] == hashes


def test_an_empty_shard_is_refused(toy_examples: list[Example]) -> None:
    store = ListStore(toy_examples[:1])
    full = next(n for n in range(1, 51) if int(toy_examples[0].content_hash[:8], 16) % 50 == n - 1)
    assert len(shard(store, full, 50)) == 1
    with pytest.raises(ValueError, match=r"--shard \d+/50: none of the 1 examples falls into it"):
        shard(store, full % 50 + 1, 50)
