"""The commands of pages that no test runs are parsed by the command line unchanged: files, options and names."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from lit_curriculum import CampusPolicy, GrowthPacePolicy, IterITPolicy, TapirPolicy, TapirRounds
from lit_curriculum.cli import main
from lit_curriculum.methods.doit.study.study import load_study
from tests.docs.blocks import commands

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "methods").glob("*.md")), ROOT / "docs" / "guides" / "scoring.md"]


def whole_commands(page: Path) -> list[list[str]]:
    """The commands of a page's indented blocks that leave nothing out."""
    given = [token.content for token in MarkdownIt().parse(page.read_text()) if token.type == "code_block"]
    split = [shlex.split(line, comments=True) for text in given for line in commands(text)]
    return [words[1:] for words in split if words and words[0] == "lit-curriculum" and "..." not in words]


TRAINING = [
    pytest.param(words, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, words in enumerate(whole_commands(page))
    if words[0] == "fit" and "configs/base.yaml" in words
]


@pytest.mark.slow
@pytest.mark.parametrize("words", TRAINING)
def test_a_command_that_trains_is_read(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main([*words, "--print_config"]) == 0
    assert "curriculum:" in capsys.readouterr().out


def test_every_method_has_a_command() -> None:
    assert len(TRAINING) >= len(PAGES) - 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_studies_that_a_page_names_are_read(page: Path) -> None:
    named = [words[words.index("--study") + 1] for words in whole_commands(page) if "--study" in words]
    assert page.stem != "doit" or named
    for path in set(named):
        assert load_study(ROOT / path).rungs


@pytest.mark.parametrize(
    ("page", "classes"),
    [
        ("iterit", [IterITPolicy]),
        ("campus", [CampusPolicy]),
        ("tapir", [TapirPolicy, TapirRounds]),
        ("doit", [GrowthPacePolicy]),
    ],
)
def test_tables_name_options_that_there_are(page: str, classes: list[type]) -> None:
    known = {name for owner in classes for name in inspect.signature(owner).parameters}
    text = (ROOT / "docs" / "methods" / f"{page}.md").read_text()
    tables = re.findall(r"(?m)^\| option.*(?:\n\|.*)+", text)
    rows = [row for table in tables if "curriculum.policy" in table for row in table.splitlines()[2:]]
    named = {name.rpartition(".")[2] for row in rows for name in re.findall(r"`([\w.]+)`", row.split("|")[1])}
    assert len(named) >= 5
    assert named <= known
