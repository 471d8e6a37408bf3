"""Atomic writes: whole or absent, and no draft is left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lit_curriculum.utils.files import atomic_path, write_atomic


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "card.json"
    write_atomic(path, "é 1")
    with atomic_path(path) as draft:
        draft.write_text("half")
        assert draft.parent == path.parent, "a rename works within one file system alone"
        assert path.read_text(encoding="utf-8") == "é 1"
    assert path.read_text() == "half"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_content_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    write_atomic(path, "old")
    with pytest.raises(OSError, match="disk full"):
        _write_half(path, OSError("disk full"))
    assert path.read_text() == "old"
    with pytest.raises(KeyboardInterrupt):
        _write_half(tmp_path / "folder", KeyboardInterrupt(), folder=True)
    assert list(tmp_path.iterdir()) == [path]


def test_fsync_comes_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "a", []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.exists()))
    with atomic_path(path) as draft:
        draft.touch()
    assert synced == []
    path.unlink()
    with atomic_path(path, fsync=True) as draft:
        draft.touch()
    assert synced == [False]


def test_permissions_are_those_of_a_plain_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_atomic(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_of_two_writers_of_a_folder_the_first_stays(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with atomic_path(path) as late:
        late.mkdir()
        (late / "data").write_text("late")
        with atomic_path(path) as early:
            early.mkdir()
            (early / "data").write_text("early")
    assert (path / "data").read_text() == "early"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_does_not_replace_a_file(tmp_path: Path) -> None:
    (tmp_path / "name").touch()
    with pytest.raises(OSError), atomic_path(tmp_path / "name") as draft:  # noqa: PT011
        draft.mkdir()
    assert (tmp_path / "name").is_file()


def _write_half(path: Path, error: BaseException, folder: bool = False) -> None:
    with atomic_path(path) as draft:
        if folder:
            draft.mkdir()
        (draft / "part" if folder else draft).write_text("half")
        raise error
