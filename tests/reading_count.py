"""How many files one opens to read the loop, and each system beyond the loop: ``python -m tests.reading_count``.

**Reached** are the files that a file imports, and what those import, wherever the import is written (lazy ones and
those for types too). Never counted:

- the shared vocabulary: ``types/``, ``utils/``, ``report/``, ``data/`` and ``models/``, but for the sampler, through
  which the loop acts on the loader; and ``__init__`` files without code;
- the scoring engine below ``ScoringEngine``: the loop and the systems call it as they call a model. It is listed apart.

**The loop** is what is reached from the planner and the callback. **A system** is its folder and what is reached from
there, without the files of the loop; TAPIR includes all chat clients, which its configuration names and nothing
imports. Policies, metrics and callbacks that a configuration combines with a system are read apart.
"""

from __future__ import annotations

import ast
import functools

from tests.imports import graph, modules

VOCABULARY = ("types", "utils", "report", "data", "models")
ENGINE = ("engine", "runner", "batching", "summary_cache", "fingerprint")
SYSTEMS = {
    "IterIT": ("methods.iterit",),
    "CAMPUS": ("methods.campus",),
    "TAPIR": ("methods.tapir", "chat"),
    "DoIT": ("methods.doit",),
}
LIMITS = {"loop": 12, "IterIT": 9, "CAMPUS": 12, "TAPIR": 20}


@functools.cache
def has_code(module: str) -> bool:
    """Whether there is more in a file than a docstring."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse(modules()[module].read_text()).body)


def counts(module: str) -> bool:
    """Whether a file is neither vocabulary nor part of the engine."""
    parts = module.split(".")
    shared = parts[0] in VOCABULARY and module != "data.sampler"
    return not shared and not (parts[0] == "difficulty" and parts[-1] in ENGINE) and has_code(module)


def reached(starts: set[str]) -> set[str]:
    """``starts`` and all that they import, directly or not, past no file of vocabulary or engine."""
    imports, found, todo = graph(), set(), [module for module in starts if counts(module)]
    while todo:
        module = todo.pop()
        if module not in found:
            found.add(module)
            todo += [target for target in imports[module] if counts(target)]
    return found


@functools.cache
def reading_lists() -> dict[str, list[str]]:
    """Files to open for the loop, and beyond the loop for each system."""
    loop = reached({"loop.planner", "loop.callback"})
    found = {"loop": sorted(loop)}
    for system, folders in SYSTEMS.items():
        own = {module for module in modules() if module.startswith(folders)}
        found[system] = sorted(reached(own) - loop)
    return found


def main() -> None:
    """Print the lists."""
    for name, files in reading_lists().items():
        most = f" (at most {LIMITS[name]})" if name in LIMITS else ""
        print(f"{name}: {len(files)} files{most}", *(f"  {file}" for file in files), sep="\n")
    print(f"scoring engine, counted nowhere: {', '.join(ENGINE)}")


if __name__ == "__main__":
    main()
