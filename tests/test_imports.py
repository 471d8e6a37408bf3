"""Imports run one way, as docs/guides/reading_the_code.md draws them; held by reading every file."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from tests.reading_count import PACKAGE, counts

# From the bottom up: a file imports from its own folder and from lower lines.
LAYERS = (
    ("types", "utils", "report"),
    ("difficulty", "models", "data"),
    ("curriculum", "chat", "evaluation"),
    ("loop",),
    ("callbacks",),
    ("methods",),
    ("commands",),
    ("cli",),
)
RANK = {folder: rank for rank, folders in enumerate(LAYERS) for folder in folders}
FRAMEWORKS = {"lightning", "pytorch_lightning", "transformers", "datasets"}
MOST_FILES = {"loop": 12, "iterit": 9, "campus": 12, "tapir": 20}
FILES = {path: path.relative_to(PACKAGE).parts for path in sorted(PACKAGE.rglob("*.py"))}


def imports(path: Path) -> set[tuple[str, ...]]:
    """Modules that a file imports, in functions and for type checkers too, each split at its dots."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {tuple(name.split(".")) for name in found}


def folder(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


def frameworks(paths: Iterable[Path]) -> list[str]:
    return [f"{path}: {module[0]}" for path in paths for module in sorted(imports(path)) if module[0] in FRAMEWORKS]


def test_every_folder_has_a_layer() -> None:
    folders = {folder(parts) for parts in FILES.values()} - {"__init__", "__main__"}
    assert folders == set(RANK)


def test_imports_run_one_way() -> None:
    wrong = []
    for path, parts in FILES.items():
        own = folder(parts)
        for module in imports(path) if own in RANK else ():
            other = module[1] if module[0] == "lit_curriculum" and len(module) > 1 else ""
            if other in RANK and other != own and RANK[other] >= RANK[own]:
                wrong.append(f"{path}: {'.'.join(module)}")
    assert not wrong


def test_methods_do_not_import_one_another() -> None:
    """Baselines may use a part of a system."""
    wrong = [
        f"{path}: {'.'.join(module)}"
        for path, parts in FILES.items()
        if parts[0] == "methods" and parts[1] != "baselines"
        for module in imports(path)
        if module[:2] == ("lit_curriculum", "methods") and module[2] != parts[1]
    ]
    assert not wrong


def test_no_two_files_import_each_other_in_a_circle() -> None:
    names = {("lit_curriculum", *parts[:-1], parts[-1].removesuffix(".py")): path for path, parts in FILES.items()}
    ahead: dict[Path, set[Path]] = {}
    for path in FILES:
        tree = ast.parse(path.read_text())
        top = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
        found = {tuple(str(node.module).split(".")) for node in top}
        found |= {(*str(node.module).split("."), alias.name) for node in top for alias in node.names}
        ahead[path] = {names[module] for module in found if module in names}
    done: set[Path] = set()

    def visit(path: Path, trail: tuple[Path, ...]) -> None:
        assert path not in trail, " -> ".join(map(str, (*trail, path)))
        if path not in done:
            for other in ahead[path]:
                visit(other, (*trail, path))
            done.add(path)

    for path in FILES:
        visit(path, ())


def test_curriculum_logic_knows_no_framework() -> None:
    logic = [p for p, parts in FILES.items() if parts[0] in ("difficulty", "curriculum") or parts[-1] == "policy.py"]
    assert len(logic) > 15
    assert not frameworks([*logic, PACKAGE / "loop" / "planner.py"])


def test_reports_need_no_torch() -> None:
    wrong = [p for p, parts in FILES.items() if parts[0] == "report" and any(m[0] == "torch" for m in imports(p))]
    assert not wrong


def test_files_name_no_machine() -> None:
    assert not [path for path in FILES if "../shared" in path.read_text()]


def test_the_loop_and_each_system_are_read_in_few_files() -> None:
    found = counts()
    assert {title: files for title, files in found.items() if len(files) > MOST_FILES.get(title, 1000)} == {}
    assert {"methods/iterit/policy.py", "methods/iterit/novelty.py"} <= set(found["iterit"])
