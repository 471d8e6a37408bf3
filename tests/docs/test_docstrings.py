"""Every public class and function says what it is, and the names in docstrings and on pages are names of something."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import lit_curriculum
from docs.names import MISSING, PUBLIC_NAMES, find, public_names_page

ROOT = Path(__file__).parents[2]
ROLE = re.compile(r":(?:class|func|meth|attr|data|mod|exc):`~?([\w.]+)`")
ON_PAGES = re.compile(r"\{py:\w+\}`~?([\w.]+)`")
NAMES = [m.name for m in pkgutil.walk_packages(lit_curriculum.__path__, "lit_curriculum.") if "__main__" not in m.name]


def members(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Public functions and classes that the module defines, and what the classes define."""
    for name, found in vars(module).items():
        if name.startswith("_") or getattr(found, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(found) or inspect.isclass(found):
            yield name, found
        if inspect.isclass(found):
            for attribute, value in vars(found).items():
                if not attribute.startswith("_") and (inspect.isroutine(value) or isinstance(value, property)):
                    yield f"{name}.{attribute}", getattr(found, attribute)


def test_every_public_name_of_a_module_is_documented_here_or_where_it_is_declared() -> None:
    found = []
    for module in map(import_module, NAMES):
        found += [] if module.__doc__ else [module.__name__]
        for name, member in members(module):
            if not inspect.getdoc(member) or (inspect.isclass(member) and not own_doc(member)):
                found.append(f"{module.__name__}.{name}")
    assert not found


def test_a_docstring_begins_with_one_line_that_ends() -> None:
    """Sphinx and ``help`` show the first line alone, so it is a whole phrase."""
    found = []
    for module in map(import_module, NAMES):
        documented = [(module.__name__, module), *((f"{module.__name__}.{n}", m) for n, m in members(module))]
        for name, member in documented:
            summary = inspect.cleandoc(member.__doc__ or "").partition("\n\n")[0]
            if member.__doc__ and ("\n" in summary or not summary.endswith((".", ":"))):
                found.append(name)
    assert not found


def own_doc(found: type) -> bool:
    """Whether a class has a docstring that somebody wrote; dataclasses and named tuples make their own."""
    text = vars(found).get("__doc__") or ""
    return bool(text) and not text.startswith(f"{found.__name__}(")


def test_what_docstrings_refer_to_exists() -> None:
    missing = []
    for module in map(import_module, NAMES):
        source = inspect.getsource(module)
        owners = [None, *(member for member, found in members(module) if inspect.isclass(found))]
        for target in ROLE.findall(source):
            in_init = re.search(rf"self\.{re.escape(target)}\b", source) is not None
            if not in_init and all(find(target, module.__name__, owner) is MISSING for owner in owners):
                missing.append(f"{module.__name__}: {target}")
    assert not missing


def test_what_pages_refer_to_exists() -> None:
    pages = sorted((ROOT / "docs").rglob("*.md"))
    assert len(pages) > 10
    missing = [
        f"{page.name}: {target}"
        for page in pages
        for target in ON_PAGES.findall(page.read_text())
        if find(target, None, None) is MISSING
    ]
    assert not missing


def test_a_name_that_is_nothing_is_missing() -> None:
    assert find("Length", "lit_curriculum.difficulty.text_metrics", None) is not MISSING
    assert find("train_store", "lit_curriculum.data.datamodule", "InstructionDataModule") is not MISSING
    assert find("IntArray", None, None) is not MISSING
    assert find("Lenght", "lit_curriculum.difficulty.text_metrics", None) is MISSING
    assert find("lit_curriculum.difficulty.NoSuchMetric", None, None) is MISSING


def test_every_public_name_is_on_its_page() -> None:
    assert PUBLIC_NAMES.read_text() == public_names_page(), "python -m docs.names writes the page"
    assert all(f".{name}`" in PUBLIC_NAMES.read_text() for name in lit_curriculum.__all__)
