"""The page of results says what the files say, and no file names a machine."""

from __future__ import annotations

import json

import pytest

from experiments.summarise import QUESTIONS, RESULTS, summarise

FOLDERS = sorted(p.parent for p in RESULTS.glob("*/results.json"))


def test_the_page_is_what_the_files_give() -> None:
    assert (RESULTS / "README.md").read_text(encoding="utf-8") == summarise(RESULTS)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_every_result_has_its_rows_and_its_provenance(folder) -> None:  # type: ignore[no-untyped-def]
    assert folder.name in QUESTIONS
    rows = json.loads((folder / "results.json").read_text())
    assert rows
    assert all({"name", "value", "unit"} <= set(row) for row in rows)
    source = json.loads((folder / "provenance.json").read_text())
    assert source["commit"]
    assert source["config"]
    for path in folder.rglob("*"):
        if path.suffix in (".json", ".jsonl", ".yaml", ".csv", ".md"):
            assert not any(f"/{place}/" in path.read_text() for place in ("root", "home", "tmp", "shared", "work"))
