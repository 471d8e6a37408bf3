"""The documentation: what pages link to and name exists, each is in the menu, and the README stays short."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from lit_curriculum.cli import main

ROOT = Path(__file__).parents[2]
DOCS = sorted(path for path in (ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "configs" / "README.md", ROOT / "experiments" / "LOG.md", *DOCS]
FOLDERS = "configs|experiments|lit_curriculum|results|tests"
FILES = re.compile(rf"(?<![\w/.-])((?:{FOLDERS})/[\w./-]+\.(?:yaml|py|md|svg|png|txt))")
MODULES = re.compile(r"python -m (experiments[\w.]*)")
COMMANDS = re.compile(r"^ *lit-curriculum ([a-z]+)", re.MULTILINE)
WORDS_IN_TEN_MINUTES = 2200


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def slug(heading: str) -> str:
    """The anchor that GitHub and the site give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def links(markdown: str) -> list[str]:
    """Targets of all links and images of a page."""
    found = []
    for block in MarkdownIt().enable("table").parse(markdown):
        for token in block.children or []:
            target = token.attrGet("href") or token.attrGet("src")
            if target is not None:
                found.append(str(target))
    return found


def without_blocks(markdown: str) -> str:
    """A page without its fenced blocks, which ``test_guides.py`` runs."""
    lines = markdown.splitlines()
    for token in MarkdownIt().parse(markdown):
        if token.type == "fence" and token.map is not None:
            lines[slice(*token.map)] = [""] * (token.map[1] - token.map[0])
    return "\n".join(lines)


def anchors(page: Path) -> set[str]:
    tokens = MarkdownIt().parse(page.read_text())
    return {slug(tokens[i + 1].content) for i, token in enumerate(tokens) if token.type == "heading_open"}


def menu(page: Path) -> list[Path]:
    """The pages that a page's tables of contents name."""
    found: list[Path] = []
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "fence" and token.info.startswith("{toctree}"):
            entries = [line for line in token.content.splitlines() if line and not line.startswith(":")]
            for entry in entries:
                target = re.sub(r".*<(.+)>$", r"\1", entry)
                matches = sorted(page.parent.glob(f"{target}.md"))
                assert matches or target == "api/*", f"{name(page)}: the menu names {target!r}, which no page is called"
                found += [path.resolve() for path in matches]
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    for target in links(page.read_text()):
        if target.startswith(("http:", "https:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), f"{name(page)}: {target}"
        assert not anchor or anchor in anchors(file), f"{name(page)}: {target} names no heading"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_modules_and_commands_that_a_page_names_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if page.name == "LOG.md":
        pytest.skip("the log names what there was")
    text = without_blocks(page.read_text()) if page.parent.name == "guides" else page.read_text()
    for path in FILES.findall(text):
        assert (ROOT / path).is_file(), path
    for module in MODULES.findall(text):
        assert find_spec(module.rstrip(".")) is not None, module
    assert main([]) == 0
    assert set(COMMANDS.findall(text)) <= set(re.findall(r"^  (\w+) ", capsys.readouterr().out, re.MULTILINE))


def test_every_page_is_in_the_menu() -> None:
    index = ROOT / "docs" / "index.md"
    named = menu(index)
    for page in list(named):
        named += menu(page) if page.parent.is_relative_to(ROOT / "docs") else []
    assert set(DOCS) - {index} <= set(named)
    assert ROOT / "README.md" in named


def test_the_readme_is_read_in_ten_minutes() -> None:
    words = [word for word in (ROOT / "README.md").read_text().split() if re.search(r"\w", word)]
    assert len(words) <= WORDS_IN_TEN_MINUTES


def test_every_baseline_is_in_a_table_of_the_readme() -> None:
    def named(page: Path) -> set[str]:
        rows = [line for line in page.read_text().splitlines() if line.startswith("|")]
        return {stem.split("/")[-1].removesuffix(".yaml") for row in rows for stem in re.findall(r"`([\w./]+)`", row)}

    there = {path.stem for path in (ROOT / "configs" / "curriculum").glob("*.yaml")}
    baselines = named(ROOT / "configs" / "README.md") & there
    assert len(baselines) > 40
    assert baselines <= named(ROOT / "README.md")


def test_a_link_to_nothing_would_be_seen() -> None:
    assert links("| a |\n| --- |\n| [x](y.md) |\n\n![z](z.png)") == ["y.md", "z.png"]
    assert slug("Your own `Trainer`, TRL & more") == "your-own-trainer-trl--more"
