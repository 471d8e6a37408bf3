"""Counts the files that a reader of the loop, or of one of the four systems, opens.

    python -m tests.reading_count

- The loop: what ``loop/planner.py`` and ``loop/callback.py`` reach by imports. The scoring engine behind
  ``difficulty/engine.py``, which the loop calls through one method, is counted apart.
- A system: its folder and what that reaches by imports, beyond the loop and the engine.

Imports inside functions and for type checkers count too. Left out are the layers that every part shares (types,
utils, data, models, report) and ``__init__.py`` files, which hold no code. The sampler counts, since it is the loop's.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lit_curriculum"
SHARED = ("types/", "utils/", "data/", "models/", "report/")
SYSTEMS = ("iterit", "campus", "tapir", "doit")


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def public_modules() -> dict[str, str]:
    """The module of every name that the package offers."""
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    return {a.name: f"lit_curriculum.{n.module}" for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names}


def imported_files(path: Path) -> set[Path]:
    """The files of the package that a file imports from."""
    public, found = public_modules(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        modules = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lit_curriculum"):
            for alias in node.names:
                module = public.get(alias.name, "") if node.module == "lit_curriculum" else str(node.module)
                modules += [f"{node.module}.{alias.name}", module]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        files = (ROOT / f"{module.replace('.', '/')}.py" for module in modules)
        found |= {file for file in files if file.exists()}
    return found


def reached(starts: Iterable[Path], skipped: Callable[[Path], bool]) -> list[str]:
    """Names of ``starts`` and of all files behind them, except those that are skipped and what only they reach."""
    found: set[Path] = set()
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path not in found and not skipped(path):
            found.add(path)
            waiting += imported_files(path)
    return sorted(map(name, found))


def is_shared(path: Path) -> bool:
    return name(path).startswith(SHARED) and name(path) != "data/sampler.py"


def counts() -> dict[str, list[str]]:
    """The files of the loop, of the engine and of every system."""
    engine = [n for n in reached([PACKAGE / "difficulty" / "engine.py"], is_shared) if n != "difficulty/base.py"]
    starts = [PACKAGE / "loop" / "planner.py", PACKAGE / "loop" / "callback.py"]
    found = {"loop": reached(starts, lambda path: is_shared(path) or name(path) in engine), "engine": engine}
    known = {*found["loop"], *engine}
    for system in SYSTEMS:
        own = [path for path in (PACKAGE / "methods" / system).rglob("*.py") if path.name != "__init__.py"]
        found[system] = reached(own, lambda path: is_shared(path) or name(path) in known)
    return found


if __name__ == "__main__":
    for title, files in counts().items():
        print(f"{title}: {len(files)}", *files, sep="\n    ")
