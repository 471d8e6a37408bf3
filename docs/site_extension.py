"""What the site needs beside Sphinx: formulas as MathML, and a page of docstrings for each package."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

PACKAGE = "lit_curriculum"


def packages() -> dict[str, list[str]]:
    """Every package and its own modules, in the order of their names."""
    found: dict[str, list[str]] = {PACKAGE: []}
    for module in pkgutil.walk_packages(import_module(PACKAGE).__path__, f"{PACKAGE}."):
        if module.ispkg:
            found[module.name] = []
        elif not module.name.endswith("__main__"):
            found[module.name.rpartition(".")[0]].append(module.name)
    return found


def api_page(package: str, modules: list[str]) -> str:
    """The source of a package's page: its docstring, then a section of docstrings for each module."""
    lines = [package, "=" * len(package), "", f".. automodule:: {package}", "   :no-members:", ""]
    for module in modules:
        name = module.rpartition(".")[2]
        lines += [name, "-" * len(name), "", f".. automodule:: {module}", ""]
    return "\n".join(lines)


def write_api_pages(app: Sphinx) -> None:
    """Writes ``docs/api/<package>.rst``; a page that says the same is left alone, so that it is not built again."""
    folder = Path(app.confdir) / "api"
    folder.mkdir(exist_ok=True)
    for package, modules in packages().items():
        page, text = folder / f"{package}.rst", api_page(package, modules)
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def keep_colons(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """An attribute's docstring is prose: an empty line keeps Napoleon from reading what precedes a colon as a type."""
    if what in ("attribute", "data", "property"):
        lines.insert(0, "")


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    """Writes an inline formula; browsers draw MathML without a script or a font from elsewhere."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Writes a formula on lines of its own."""
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("builder-inited", write_api_pages)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
