"""The encoded data set: equal to its examples encoded one by one, read row by row, and able to grow."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest

from lit_curriculum.data import cache
from lit_curriculum.data.store import EncodedStore, content_digest
from lit_curriculum.types import CONDITIONED
from tests.data.toy_stores import assert_same, build, make_encoder, make_examples


def test_store_equals_its_examples_encoded_one_by_one(tmp_path: Path) -> None:
    examples = make_examples(25)
    store = build(tmp_path, examples)
    assert_same(store, examples, make_encoder())
    digest = hashlib.blake2b(b"".join(e.content_hash.encode() for e in examples), digest_size=16)
    assert content_digest(store) == digest.hexdigest()
    assert store.abilities.names == ("t1", "t2")
    assert store.abilities.codes.tolist() == [n % 3 - 1 for n in range(25)]
    assert list(store.abilities[3:6]) == [None, "t1", "t2"]


def test_many_record_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_ROWS", 4)
    examples = make_examples(25)
    texts = build(tmp_path, examples)
    assert_same(texts, examples, make_encoder())


def test_wrong_index_and_view(tmp_path: Path) -> None:
    store = build(tmp_path, make_examples(3))
    for wrong in (3, -1):
        with pytest.raises(IndexError, match="outside the data of 3 examples"):
            store[wrong]
    with pytest.raises(TypeError):
        store.encoded(1.5, CONDITIONED)  # type: ignore[arg-type]
    for ask in (store.lengths, store.num_scored, lambda view: store.encoded(0, view)):
        with pytest.raises(ValueError, match="there is no view 'other' of the data"):
            ask("other")
    assert store.encoded(np.int64(2), CONDITIONED).input_ids.size > 0  # type: ignore[arg-type]
    assert [e.index for e in store] == [0, 1, 2]


def test_parts_continue_the_indices(tmp_path: Path) -> None:
    examples = make_examples(13)
    store, more = build(tmp_path, examples[:6]), build(tmp_path, examples[6:])
    assert [e.index for e in more] == list(range(7))
    _ = store.content_hashes, store.abilities
    alone = store.fingerprint
    store.append(more)
    assert_same(store, examples, make_encoder())
    assert content_digest(store) == content_digest(build(tmp_path, examples))
    assert store.fingerprint not in (alone, more.fingerprint)
    assert store.fingerprint == EncodedStore(store.folders).fingerprint
    assert store.problems.num_kept == 13
    assert_same(pickle.loads(pickle.dumps(store)), examples, make_encoder())


def test_parts_must_be_encoded_alike(tmp_path: Path) -> None:
    store, other = build(tmp_path, make_examples(2)), build(tmp_path, make_examples(2), make_encoder(max_length=100))
    with pytest.raises(ValueError, match="were encoded with another tokenizer"):
        store.append(other)
    assert len(store) == 2


def test_tokens_are_mapped_from_the_file(tmp_path: Path) -> None:
    store = build(tmp_path, make_examples(3))
    ids = store.encoded(1, CONDITIONED).input_ids
    assert not ids.flags.owndata
    assert not ids.flags.writeable
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(store.folders[0]) in maps.read_text()
