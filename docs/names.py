"""Names: what a name in a docstring or on a page refers to, and the page of all public names.

python -m docs.names   # writes docs/public_names.md from the docstrings
"""

from __future__ import annotations

import builtins
import inspect
import re
from importlib import import_module
from pathlib import Path
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


PUBLIC_NAMES = Path(__file__).parent / "public_names.md"
_FIRST = [
    "CausalLMModule",
    "InstructionDataModule",
    "CurriculumCallback",
    "CurriculumSampler",
    "LoRA",
    "IterITPolicy",
    "CampusPolicy",
    "TapirPolicy",
    "TapirRounds",
    "AbilityMixturePolicy",
    "GrowthPacePolicy",
    "AbilityGrowthTracker",
    "UniformPolicy",
    "OrderedPolicy",
    "TopMetricPolicy",
    "WarmStartPolicy",
    "CurriculumPolicy",
    "TextMetric",
    "ModelMetric",
    "LearnedMetric",
    "DifficultyTable",
    "Plan",
    "CurriculumObserver",
    "StageReport",
    "InstructionFollowingDifficulty",
    "NegativeLogLikelihood",
    "Length",
    "MTLD",
    "LearnedScorer",
    "CurriculumMonitor",
    "SelectionLog",
    "LedgerWriter",
    "RunCard",
]
_KINDS = {
    "Policies": "CurriculumPolicy",
    "Difficulty metrics": "DifficultyMetric",
    "Callbacks": "Callback",
    "Chat clients": "ChatClient",
    "Learning-rate schedules": "LRScheduler",
}
_INTRODUCTION = """# Public names

`from lit_curriculum import NAME` imports any class on this page, and `class_path: lit_curriculum.NAME` names it in
yaml. A class is loaded on first use, so `import lit_curriculum` costs next to nothing. `python -m docs.names` writes
this page.
"""


def public_names_page() -> str:
    """The page of all public names, each with the first line of its docstring."""
    package = import_module(PACKAGE)
    rest = [name for name in sorted(package.__all__) if name not in _FIRST]
    groups: dict[str, list[str]] = {"Start here": _FIRST, **{kind: [] for kind in _KINDS}, "Parts of the others": []}
    for name in rest:
        bases = {base.__name__ for base in inspect.getmro(getattr(package, name))}
        groups[next((kind for kind, base in _KINDS.items() if base in bases), "Parts of the others")].append(name)
    lines = [_INTRODUCTION]
    for title, names in groups.items():
        lines += [f"## {title}", "", "| name | what it is |", "| --- | --- |"]
        for name in names:
            summary = inspect.cleandoc(getattr(package, name).__doc__ or "").partition("\n")[0]
            plain = re.sub(r":\w+:`~?([\w.]*\.)?(\w+)`", r"`\2`", summary).replace("``", "`").replace("|", "\\|")
            lines.append(f"| {{py:class}}`~{PACKAGE}.{name}` | {plain} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PUBLIC_NAMES.write_text(public_names_page(), encoding="utf-8")
