"""An append-only keyed log: several writers, lines that a crash cut off, and lines that are broken."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from lit_curriculum.utils import jsonl_log
from lit_curriculum.utils.jsonl_log import JsonlLog


def opened(path: Path) -> JsonlLog[int, str]:
    return JsonlLog(path, lambda row: (row["n"], row.get("text", "")), "number")


def test_every_reader_parses_each_line_once(tmp_path: Path) -> None:
    path, parsed = tmp_path / "new" / "numbers.jsonl", []

    def parse(row: dict[str, Any]) -> tuple[int, None]:
        parsed.append(row["n"])
        return row["n"], None

    one, two = JsonlLog(path, parse, "number"), opened(path)
    one.append([])
    assert not path.exists()
    one.append([{"n": 1}, {"n": 2}])
    two.append([{"n": 3}])
    one.refresh()
    one.refresh()
    assert parsed == [1, 2, 3]
    assert list(one.entries) == list(two.entries) == list(opened(path).entries) == [1, 2, 3]
    assert path.read_text() == '{"n": 1}\n{"n": 2}\n{"n": 3}\n'


def test_of_equal_keys_the_last_counts(tmp_path: Path) -> None:
    log = opened(tmp_path / "numbers.jsonl")
    log.append([{"n": 1, "text": "old"}, {"n": 1, "text": "new"}])
    assert log.entries == opened(log.path).entries == {1: "new"}


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_cut_last_line_is_reported_ignored_and_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: int
) -> None:
    path = tmp_path / "numbers.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n'[:-cut])
    whole = [1, 2] if cut == 1 else [1]  # the end of the line alone is missing
    with caplog.at_level(logging.WARNING):
        log, other = opened(path), opened(path)
    assert list(log.entries) == list(other.entries) == whole
    assert ("numbers.jsonl:2 is no complete number" in caplog.text) == (1 < cut < 9)
    log.append([{"n": 4}])
    other.append([{"n": 5}])
    log.refresh()
    assert list(log.entries) == list(other.entries) == list(opened(path).entries) == [*whole, 4, 5]
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == [*whole, 4, 5]


@pytest.mark.parametrize(
    ("line", "reason"),
    [('{"n": 1', "delimiter"), ("[1]", "no JSON object"), ("null", "no JSON object"), ('{"m": 1}', "it has no 'n'")],
)
def test_a_broken_line_before_the_last_is_refused_by_its_number(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "numbers.jsonl"
    path.write_text(f'{{"n": 1}}\n\n{line}\n{{"n": 2}}\n')
    with pytest.raises(ValueError, match=rf"numbers\.jsonl:3 is no number .*{reason}.* delete this line"):
        opened(path)


def test_what_ends_a_line_elsewhere_ends_none_here(tmp_path: Path) -> None:
    path, text = tmp_path / "numbers.jsonl", "a\u2028b\u0085c\rd\ne"
    opened(path).append([{"n": 1, "text": text}])
    assert opened(path).entries == {1: text}


def test_a_half_written_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "numbers.jsonl"
    log = opened(path)
    with path.open("ab", buffering=0) as file:
        file.write(b'{"n": 1}\n{"n":')
        log.refresh()
        assert list(log.entries) == [1]
        file.write(b" 2}\n")
        log.refresh()
    assert list(log.entries) == [1, 2]


def test_lines_are_on_disk_when_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: sizes.append(os.fstat(number).st_size))
    opened(tmp_path / "numbers.jsonl").append([{"n": 1}])
    assert sizes == [len('{"n": 1}\n')]


def test_a_file_system_without_locks_has_one_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(jsonl_log.fcntl, "flock", refuse)
    opened(tmp_path / "numbers.jsonl").append([{"n": 1}])
    assert list(opened(tmp_path / "numbers.jsonl").entries) == [1]


def test_a_header_is_written_once_and_compared(tmp_path: Path) -> None:
    path, header = tmp_path / "numbers.jsonl", {"seeds": (0, 1)}

    def opened_with(header: dict[str, Any]) -> JsonlLog[int, None]:
        return JsonlLog(path, lambda row: (row["n"], None), "number", header)

    one, two = opened_with(header), opened_with(header)
    one.append([{"n": 1}])
    two.append([{"n": 2}])
    assert list(opened_with(header).entries) == list(two.entries) == [1, 2]
    assert path.read_text() == '{"seeds": [0, 1]}\n{"n": 1}\n{"n": 2}\n'
    with pytest.raises(ValueError, match=r"numbers\.jsonl is of other options \(\{\"seeds\": \[0, 1\]\}\)"):
        opened_with({"seeds": (0,)})
    path.write_text('{"seeds": [0')  # killed in the middle of the header
    opened_with(header).append([{"n": 3}])
    assert list(opened_with(header).entries) == [3]


def _append_many(path: Path, first: int) -> None:
    log = opened(path)
    for n in range(first, first + 50):
        log.append([{"n": n, "text": "x" * 20000}])


def test_processes_write_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "numbers.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(path, 50 * k)) for k in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [w.exitcode for w in writers] == [0, 0, 0]
    assert set(opened(path).entries) == set(range(150))
