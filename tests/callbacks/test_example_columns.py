"""What is read of many examples at once is what each of them says."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lit_curriculum.callbacks.ledger_tables import IDENTITY, example_columns, texts
from lit_curriculum.data.store import EncodedStore
from tests.conftest import ListStore
from tests.data.toy_stores import build, make_examples


def test_columns_of_a_store_on_disk_are_those_of_its_examples(tmp_path: Path) -> None:
    store = EncodedStore([*build(tmp_path, make_examples(23)).folders, *build(tmp_path, make_examples(9, 50)).folders])
    plain = ListStore([store[i] for i in range(len(store))])
    indices = np.array([31, 0, 7, 7, 22, 23])
    expected = {name: [getattr(store[int(i)], name) for i in indices] for name in IDENTITY}
    assert example_columns(store, indices) == example_columns(plain, indices) == expected
    assert expected["ability"][1] is None
    said = [store[i].instruction for i in range(5, 30)], [store[i].response for i in range(5, 30)]
    assert texts(store, 5, 30) == texts(plain, 5, 30) == said
    assert "before\n" in said[0][0]
