"""Import graph of the package, read from its files: every import counts, lazy ones and those for types too."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "lit_curriculum"


@functools.cache
def modules() -> dict[str, Path]:
    """Dotted name -> file of every module, without the package's own name: ``loop.planner``, ``cli``."""
    folder = ROOT / PACKAGE
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(parts).removesuffix("__init__").removesuffix(".")] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Full names that a file imports, ``package.module`` or ``package.module.name``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


@functools.cache
def public_names() -> dict[str, str]:
    """Public name -> module that defines it, from ``__init__.pyi``."""
    found = {}
    for node in ast.parse((ROOT / PACKAGE / "__init__.pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: node.module or "" for alias in node.names}
    return found


@functools.cache
def graph() -> dict[str, set[str]]:
    """Module -> modules of the package that it imports."""
    files, public = modules(), public_names()
    found: dict[str, set[str]] = {}
    for module, path in files.items():
        targets = set()
        for name in imported(path):
            parts = name.split(".")
            if parts[0] != PACKAGE:
                continue
            inner = ".".join(parts[1:])
            while inner and inner not in files:
                inner = public.get(inner) or inner.rpartition(".")[0]
            targets |= {inner} if inner else set()
        found[module] = targets - {module}
    return found
