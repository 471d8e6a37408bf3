"""What a name in a docstring or on a page stands for."""

from __future__ import annotations

import builtins
from importlib import import_module
from typing import Any

PACKAGE = "lit_curriculum"
MISSING = object()
"""Found for a name that is nothing."""


def find(target: str, module: str | None, owner: str | None) -> Any:
    """What ``target`` names, seen from a class of a module, or :data:`MISSING`; its owner for what is only declared."""
    for prefix in (f"{module}.{owner}.", f"{module}.", f"{PACKAGE}.types.", ""):
        path = prefix + target
        found = load(path)
        if found is not MISSING:
            return found
        holder, _, name = path.rpartition(".")
        parent = load(holder) if holder else MISSING
        if isinstance(parent, type) and any(name in vars(base).get("__annotations__", {}) for base in parent.__mro__):
            return parent
    return MISSING


def load(path: str) -> Any:
    """The object of this name, or :data:`MISSING`."""
    parts = path.split(".")
    for number in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:number]))
        except ImportError:
            continue
        for name in parts[number:]:
            found = getattr(found, name, MISSING)
        return found
    return getattr(builtins, path, MISSING)
