"""Reading records from every kind of file, and what is said about broken ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lit_curriculum.data.records import Record, identify, is_hub_id, list_files, read_records

ROWS = [{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d é"}]


def read(*paths: Path | str) -> list[Record]:
    return list(read_records([str(p) for p in paths]))


def test_jsonl_lines_are_numbered_and_blank_lines_are_no_records(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + f"{json.dumps(ROWS[0])}\n\n{json.dumps(ROWS[1])}".encode())
    assert read(file) == [Record(f"{file}:1", ROWS[0]), Record(f"{file}:3", ROWS[1])]


def test_line_separators_inside_a_text_do_not_split_a_record(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"output": "x\u2028y\x85z"}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert [r.fields for r in read(file)] == [{"output": "x\u2028y\x85z"}]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": 1', "is not JSON (Expecting ',' delimiter at column 8)"),
        (b'{"a": "\xff"}', "is not UTF-8 text"),
        (b"[1, 2]", "is a JSON list, not an object with fields"),
        (b'"text"', "is a JSON str, not an object with fields"),
        (b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_malformed_line_is_handed_on_with_its_reason(tmp_path: Path, line: bytes, reason: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(json.dumps(ROWS[0]).encode() + b"\n" + line + b"\n" + json.dumps(ROWS[1]).encode() + b"\n")
    assert read(file) == [
        Record(f"{file}:1", ROWS[0]),
        Record(f"{file}:2", None, reason),
        Record(f"{file}:3", ROWS[1]),
    ]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_list_gives_the_line_of_each_record(tmp_path: Path, indent: int | None) -> None:
    file = tmp_path / "a.json"
    text = json.dumps(ROWS, indent=indent)
    file.write_text(f"\n {text}\n")
    lines = [text[: text.index(f'"instruction": "{c}"')].count("\n") + 2 for c in "ac"]
    if indent:
        # The record begins at its brace, one line above its first field.
        lines = [line - 1 for line in lines]
    places = [str(line) for line in lines] if indent else [str(lines[0]), "[2]"]  # the second follows the first
    assert read(file) == [Record(f"{file}:{n}", row) for n, row in zip(places, ROWS, strict=True)]


def test_records_of_a_list_have_places_of_their_own_however_lines_are_broken(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('[{"a": 1}, {"a": 2},\n{"a": 3}, {\n"a": 4}, {"a": 5}]')
    assert [r.source.removeprefix(f"{file}:") for r in read(file)] == ["1", "[2]", "2", "[4]", "[5]"]


def test_json_with_the_list_under_data_lines_under_another_name_or_one_object(tmp_path: Path) -> None:
    wrapped, lines, single, empty = (tmp_path / f"{n}.json" for n in ("wrapped", "lines", "single", "empty"))
    wrapped.write_text(json.dumps({"version": 1, "data": ROWS}))
    lines.write_text("\n".join(map(json.dumps, ROWS)))
    single.write_text(json.dumps(ROWS[0]))
    empty.write_text("[ ]")
    assert read(wrapped) == [Record(f"{wrapped}:data[{n}]", row) for n, row in enumerate(ROWS, 1)]
    assert read(lines) == [Record(f"{lines}:{n}", row) for n, row in enumerate(ROWS, 1)]
    assert read(single) == [Record(f"{single}:1", ROWS[0])]
    assert read(empty) == []


def test_a_broken_json_list_says_the_line_and_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('[{"a": 1},\n {"a": }\n]')
    with pytest.raises(ValueError, match=r"a\.json:2: the file is not valid JSON .*Expecting value.*\.jsonl"):
        read(file)
    file.write_text('[{"a": 1}\n {"a": 2}]')
    with pytest.raises(ValueError, match=r"a\.json:2: .*expected ',' or '\]'"):
        read(file)
    file.write_bytes(b'["\xff"]')
    with pytest.raises(ValueError, match=r"a\.json is not UTF-8 text \(byte 2\)"):
        read(file)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.json.gz"])
def test_gzip_is_read_and_a_cut_file_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    text = json.dumps(ROWS) if name.startswith("a.json.") else "\n".join(map(json.dumps, ROWS))
    file.write_bytes(gzip.compress(text.encode()))
    assert [r.fields for r in read(file)] == ROWS
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"{name} cannot be read .*damaged"):
        read(file)


def test_parquet_rows_are_numbered_and_a_broken_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    rows = [{"messages": [{"role": "user", "content": str(n)}]} for n in range(2500)]
    pq.write_table(pa.Table.from_pylist(rows), file)
    records = read(file)
    assert [r.fields for r in records] == rows
    assert records[-1].source == f"{file}:2500"
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        read(file)


def test_a_folder_is_read_in_the_order_of_names_and_paths_in_their_own(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a/z.json", "a/c.jsonl", ".hidden.jsonl", "_SUCCESS.json", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"name": name}))
    files = [str(f.relative_to(tmp_path)) for f in list_files([str(tmp_path)])]
    assert files == ["a/c.jsonl", "a/z.json", "b.jsonl"]
    both = read(tmp_path / "b.jsonl", tmp_path / "a")
    assert [r.fields for r in both] == [{"name": n} for n in ("b.jsonl", "a/c.jsonl", "a/z.json")]


def test_wrong_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file or folder .*missing\.jsonl"):
        read(tmp_path / "missing.jsonl")
    with pytest.raises(ValueError, match="no file or folder a/b/c; correct"):
        read("a/b/c")
    with pytest.raises(ValueError, match=r"the folder .* holds no file that ends in \.json"):
        read(tmp_path)
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(ValueError, match=r"a\.csv has none of the endings \.json, \.jsonl"):
        read(tmp_path / "a.csv")


def test_what_looks_like_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_id("tatsu-lab/alpaca")
    assert is_hub_id("alpaca")
    assert is_hub_id("HuggingFaceH4/ultrachat_200k:default@train_sft")
    assert is_hub_id("a/b@train[:10%]")
    for path in ("data/train.jsonl", "/data/alpaca", "../alpaca", "a/b/c", "train.parquet"):
        assert not is_hub_id(path)
    (tmp_path / "alpaca").mkdir()
    assert not is_hub_id("alpaca")


def test_a_hub_data_set_is_read_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(path: str, name: str | None, split: str) -> datasets.Dataset:
        asked.append((path, name, split))
        assert datasets.are_progress_bars_disabled()  # a test is not interactive
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert read("some/set:part@test") == [Record(f"some/set:part@test:{n}", row) for n, row in enumerate(ROWS, 1)]
    read("some/set")
    assert not datasets.are_progress_bars_disabled()
    assert asked == [("some/set", "part", "test"), ("some/set", None, "train")]


def test_a_hub_data_set_that_cannot_be_reached_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(path: str, name: str | None, split: str) -> datasets.Dataset:
        raise ConnectionError("Couldn't reach the hub.\nlong trace")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    message = r"^data\.path/val_path: some/set is no file or folder here.*\(Couldn't reach the hub\); correct the path"
    with pytest.raises(ValueError, match=message) as caught:
        read("some/set")
    assert "\n" not in str(caught.value)


def test_identity_changes_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("{}")
    before = identify([str(file)])
    assert identify([str(file)]) == before
    file.write_text("{} ")
    assert identify([str(file)]) != before
