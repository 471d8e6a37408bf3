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

import pytest

import lit_curriculum
from docs.names import MISSING, find

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


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_of_a_module_is_documented_here_or_where_it_is_declared(name: str) -> None:
    module = import_module(name)
    undocumented = [member for member, found in members(module) if not inspect.getdoc(found)]
    generated = [member for member, found in members(module) if inspect.isclass(found) and not own_doc(found)]
    assert not undocumented + generated
    assert module.__doc__


def own_doc(found: type) -> bool:
    """Whether a class has a docstring that somebody wrote; dataclasses and named tuples make their own."""
    text = vars(found).get("__doc__") or ""
    return bool(text) and not text.startswith(f"{found.__name__}(")


@pytest.mark.parametrize("name", NAMES)
def test_what_docstrings_refer_to_exists(name: str) -> None:
    module = import_module(name)
    owners = [None, *(member for member, found in members(module) if inspect.isclass(found))]
    for target in ROLE.findall(inspect.getsource(module)):
        in_init = re.search(rf"self\.{re.escape(target)}\b", inspect.getsource(module)) is not None
        assert in_init or any(find(target, name, owner) is not MISSING for owner in owners), target


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_what_pages_refer_to_exists(page: Path) -> None:
    for target in ON_PAGES.findall(page.read_text()):
        assert find(target, None, None) is not MISSING, target


def test_a_name_that_is_nothing_is_missing() -> None:
    assert find("Length", "lit_curriculum.difficulty.length", None) is not MISSING
    assert find("train_store", "lit_curriculum.data.datamodule", "InstructionDataModule") is not MISSING
    assert find("IntArray", None, None) is not MISSING
    assert find("Lenght", "lit_curriculum.difficulty.length", None) is MISSING
    assert find("lit_curriculum.difficulty.NoSuchMetric", None, None) is MISSING
