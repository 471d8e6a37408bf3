"""Imports run one way: the graph of the design, held by reading every file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lit_curriculum"
# Each layer with what it may import from; what is not listed here may not be imported.
ALLOWED: dict[str, set[str]] = {
    "types": set(),
    "quiet": set(),
    "progress": set(),
    "append_only": set(),
    "doubles": set(),
    "hub": {"types", "progress"},
    "data": {"types", "hub", "progress"},
    "difficulty": {"types", "quiet", "doubles"},
    "curriculum": {"types", "difficulty"},
    "models": {"types", "quiet", "doubles", "hub"},
    "evaluation": {"types", "quiet", "doubles", "progress", "append_only", "hub", "data", "difficulty", "models"},
    "distill": {"types", "doubles", "progress", "append_only", "hub", "data", "difficulty", "curriculum", "models",
                "evaluation"},
    "growth": {"types", "hub", "data", "difficulty", "curriculum", "models", "evaluation"},
    "report": {"types"},
    "callbacks": {"types", "quiet", "progress", "hub", "data", "difficulty", "curriculum", "models", "evaluation",
                  "distill", "growth", "report"},
    "commands": {"types", "quiet", "progress", "hub", "data", "difficulty", "curriculum", "models", "evaluation",
                 "distill", "growth", "callbacks", "report"},
}  # fmt: skip
ALLOWED["cli"] = ALLOWED["commands"] | {"commands"}
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem in ALLOWED)


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downhill(path: Path) -> None:
    own = layer(path)
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "lit_curriculum" and len(parts) > 1:
            assert parts[1] == own or parts[1] in ALLOWED[own], f"{own} may not import {name}"


@pytest.mark.parametrize("path", [p for p in FILES if layer(p) in ("difficulty", "curriculum")], ids=lambda p: p.stem)
def test_curriculum_logic_knows_no_framework(path: Path) -> None:
    assert not {n.split(".")[0] for n in imported(path)} & {
        "lightning",
        "pytorch_lightning",
        "transformers",
        "datasets",
    }


@pytest.mark.parametrize("path", [p for p in FILES if layer(p) == "report"], ids=lambda p: p.stem)
def test_reports_need_no_torch(path: Path) -> None:
    assert "torch" not in {n.split(".")[0] for n in imported(path)}


def test_every_folder_of_the_package_has_a_place_in_the_graph() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders <= set(ALLOWED)
    assert len(FILES) > 15


def test_files_stay_short_and_name_no_machine() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert text.count("\n") <= 260, f"{path.name} has {text.count(chr(10))} lines"
        assert "../shared" not in text
