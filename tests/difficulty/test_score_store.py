"""Scores on disk say what they are of, and are taken for nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lit_curriculum.difficulty import score_store
from lit_curriculum.difficulty.score_store import ScoreKey, StoredScores, merge_scores, read_scores, write_scores
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import Example
from tests.conftest import ListStore, make_example

KEY = ScoreKey(
    data="d0", model="m0", source="some/model", encoding={"tokenizer": "t0", "data.max_length": 64},
    dtype="float32", autocast="none", formulas={"ifd": "ifd-ppl-ratio/1", "length": "tokens/1"},
    version="0.1.0",
)  # fmt: skip


def scores_of(store: ListStore) -> dict[str, np.ndarray]:
    ifd = np.array([int(str(h, "ascii")[:6], 16) / 7.0 for h in store.content_hashes])
    if len(ifd) > 3:
        ifd[3] = np.nan
    return {"ifd": ifd, "length": np.arange(len(store), dtype=float)}


def stored(tmp_path: Path, examples: list[Example], name: str = "scores.parquet", key: ScoreKey = KEY) -> Path:
    store = ListStore(examples)
    write_scores(tmp_path / name, key, store, scores_of(store), {"ifd": {3: "no scored token"}})
    return tmp_path / name


def test_what_is_written_is_read_and_entered_in_any_order(
    tmp_path: Path, toy_examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_store, "_ROWS", 7)
    path = stored(tmp_path, toy_examples)
    found = read_scores(path)
    assert found.key == KEY
    assert found.metrics == ["ifd", "length"]
    assert list(tmp_path.iterdir()) == [path]
    order = np.random.default_rng(0).permutation(40)[:25]
    shuffled = ListStore([toy_examples[i] for i in order])
    table = DifficultyTable(25, ["length", "ifd", "other"])
    found.enter(table, shuffled, stage=2)
    expected = scores_of(ListStore(toy_examples))
    for metric in ("ifd", "length"):
        np.testing.assert_array_equal(table.scores[metric], expected[metric][order])
        assert (table.scored_at[metric] == 2).all()
    assert table.never_scored("other").all()
    assert table.unscorable("ifd").sum() == (order == 3).sum()


def test_a_missing_score_is_null_with_its_reason(tmp_path: Path, toy_examples: list[Example]) -> None:
    table = pq.read_table(stored(tmp_path, toy_examples))
    assert table["ifd"].null_count == 1
    assert table["ifd.unscorable"].to_pylist() == [None] * 3 + ["no scored token"] + [None] * 36
    assert table["content_hash"].to_pylist()[5] == toy_examples[5].content_hash
    assert table["source"][0].as_py() == "toy.jsonl:1"


def test_a_score_missing_without_reason_is_refused(tmp_path: Path, toy_examples: list[Example]) -> None:
    store = ListStore(toy_examples)
    with pytest.raises(ValueError, match=r"metric 'ifd' gave NaN or infinite for 1 of 40 examples"):
        write_scores(tmp_path / "s.parquet", KEY, store, scores_of(store), {})
    with pytest.raises(ValueError, match=r"curriculum.metrics: 'source' is the name of another column"):
        write_scores(tmp_path / "s.parquet", KEY, store, {"source": np.zeros(40)}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"model": "m1"}, r"scores.parquet holds scores of another model: 'm0' there, 'm1' here"),
        ({"encoding": {"tokenizer": "t1", "data.max_length": 64}}, "another tokenizer: 't0' there, 't1' here"),
        ({"encoding": {"tokenizer": "t0", "data.max_length": 128}}, "another data.max_length: 64 there, 128 here"),
        ({"dtype": "bfloat16"}, "another dtype"),
        ({"autocast": "bfloat16"}, "another autocast"),
        ({"data": "d1"}, "another data"),
        ({"version": "9"}, "another version"),
        ({"formulas": {"ifd": "ifd-loss-ratio/1"}}, r"another formula of 'ifd': 'ifd-ppl-ratio/1' there"),
        ({"formulas": {"nll": "nll-mean/1"}}, r"holds no scores of metric 'nll', only of \['ifd', 'length'\]"),
    ],
)
def test_a_mismatch_is_refused_in_one_sentence(
    tmp_path: Path, toy_examples: list[Example], expected: dict[str, object], message: str
) -> None:
    found = read_scores(stored(tmp_path, toy_examples))
    found.check({"model": "m0", "formulas": {"ifd": "ifd-ppl-ratio/1"}})
    with pytest.raises(ValueError, match=message):
        found.check(expected)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none.parquet does not exist; lit-curriculum score"):
        read_scores(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "foreign.parquet")
    for name in ("text", "foreign"):
        with pytest.raises(ValueError, match=rf"{name}.parquet is no file of scores"):
            read_scores(tmp_path / f"{name}.parquet")


def test_examples_without_a_row_are_named(tmp_path: Path, toy_examples: list[Example]) -> None:
    found = read_scores(stored(tmp_path, toy_examples[:30]))
    with pytest.raises(ValueError, match=r"no scores of 10 of 40 examples"):
        found.rows(ListStore(toy_examples))
    empty = StoredScores(KEY, found.table.slice(0, 0))
    with pytest.raises(ValueError, match="no scores of 40 of 40"):
        empty.rows(ListStore(toy_examples))


def test_shards_merge_by_content_hash(tmp_path: Path, toy_examples: list[Example]) -> None:
    whole = read_scores(stored(tmp_path, toy_examples))
    parts = [StoredScores(replace(KEY, data=f"d{i}"), whole.table.slice(a, b)) for i, (a, b) in
             enumerate([(0, 15), (10, 20), (25, 15)])]  # fmt: skip
    merged = merge_scores(parts)
    assert merged.key.data == "d0+d1+d2"
    assert sorted(merged.table["id"].to_pylist()) == sorted(whole.table["id"].to_pylist())
    merged.save(tmp_path / "merged.parquet")
    again = read_scores(tmp_path / "merged.parquet")
    rows = again.rows(ListStore(toy_examples))
    for metric in KEY.formulas:
        np.testing.assert_array_equal(again.values(metric)[rows], whole.values(metric))


def test_duplicates_inside_a_part_stay(tmp_path: Path) -> None:
    examples = [make_example(0, "a"), make_example(1, "a"), make_example(2, "b")]
    table = read_scores(_constant(tmp_path, examples)).table
    parts = [StoredScores(KEY, table), StoredScores(KEY, table.slice(1, 1))]
    assert merge_scores(parts).table["id"].to_pylist() == ["toy-0", "toy-1", "toy-2"]


def _constant(tmp_path: Path, examples: list[Example]) -> Path:
    zeros = {"ifd": np.zeros(len(examples)), "length": np.zeros(len(examples))}
    write_scores(tmp_path / "c.parquet", KEY, ListStore(examples), zeros, {})
    return tmp_path / "c.parquet"


def test_conflicting_parts_are_refused(tmp_path: Path, toy_examples: list[Example]) -> None:
    one = read_scores(stored(tmp_path, toy_examples))
    two = read_scores(_constant(tmp_path, toy_examples))
    with pytest.raises(ValueError, match=r"two scores of 'ifd' differ for the same example: .* for 'toy-\d+'"):
        merge_scores([one, two])
    with pytest.raises(ValueError, match="another model"):
        merge_scores([one, StoredScores(replace(KEY, model="m1"), one.table)])
    with pytest.raises(ValueError, match="scores of different formulas cannot be merged"):
        merge_scores([one, StoredScores(replace(KEY, formulas={"ifd": "x/1"}), one.table)])
