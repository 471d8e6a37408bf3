"""A file that only grows: several writers, lines that a crash cut off, and lines that mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lit_curriculum.utils.jsonl_log import AppendOnlyFile


def opened(path: Path) -> tuple[AppendOnlyFile, list[int]]:
    seen: list[int] = []

    def take(entry: dict[str, Any]) -> None:
        seen.append(entry["n"])

    file = AppendOnlyFile(path, take, "number")
    file.refresh()
    return file, seen


def test_each_line_is_taken_once_by_every_reader(tmp_path: Path) -> None:
    path = tmp_path / "new" / "numbers.jsonl"
    (one, of_one), (two, of_two) = opened(path), opened(path)
    one.append([{"n": 1}, {"n": 2}])
    two.append([{"n": 3}])
    one.append([])
    one.refresh()
    one.refresh()
    assert of_one == of_two == opened(path)[1] == [1, 2, 3]
    assert path.read_text() == '{"n": 1}\n{"n": 2}\n{"n": 3}\n'


@pytest.mark.parametrize("cut", range(1, 9))
def test_what_follows_a_cut_line_is_whole(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "numbers.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n'[:-cut])
    whole = [1, 2] if cut == 1 else [1]  # the end of the line alone is missing
    file, seen = opened(path)
    assert seen == whole
    assert file.num_torn == (cut > 1)
    other, of_other = opened(path)
    file.append([{"n": 4}])
    other.append([{"n": 5}])
    file.refresh()
    assert seen == of_other == opened(path)[1] == [*whole, 4, 5]
    assert opened(path)[0].num_torn == (cut > 1)


def test_lines_that_mean_nothing_are_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "numbers.jsonl"
    path.write_text('{"n": 1}\n{"m": 1}\n[1]\nnull\n{"n": 2}\n')
    file, seen = opened(path)
    assert seen == [1, 2]
    assert file.num_torn == 3
    assert [int(r.getMessage().split("numbers.jsonl:")[1].split(" ")[0]) for r in caplog.records] == [2, 3, 4]
    assert "is no complete number" in caplog.text
