"""What the site needs beside Sphinx: formulas as MathML, and a page of docstrings for each package."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.writers.html5 import HTML5Translator

from docs.names import MISSING, PACKAGE, find
from docs.offline import asked

ARRAYS = {"int64": "IntArray", "float64": "FloatArray", "bool": "BoolArray", "bool_": "BoolArray"}
ARRAY = re.compile(r"~?numpy\.ndarray\[tuple\[(?:~?typing\.)?Any, \.\.\.\], ~?numpy\.dtype\[~?numpy\.(\w+)\]\]")


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
    """Keeps Napoleon, by an empty comment, from taking what precedes a colon in an attribute's docstring for a type."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element) -> nodes.Element | None:
    """A name that no page documents: the same object under its own name, or plain text if it is another package's.

    A name that is nothing stays unresolved, and so is a warning.
    """
    found = find(node["reftarget"], node.get("py:module"), node.get("py:class"))
    if found is MISSING:
        return None
    if getattr(found, "__module__", None) is None or not hasattr(found, "__qualname__"):
        return contnode
    name = f"{found.__module__}.{found.__qualname__}"
    python = env.get_domain("py")
    link = python.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contnode)
    return contnode if link is None else link


def short_types(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Arrays under the names that the source gives them, and nothing in place of the factory of a default."""
    return tuple(None if text is None else _short(text) for text in (signature, returns))


def _short(text: str) -> str:
    def name(match: re.Match[str]) -> str:
        known = ARRAYS.get(match[1])
        return f"~{PACKAGE}.types.{known}" if known else f"~numpy.typing.NDArray[~numpy.{match[1]}]"

    return ARRAY.sub(name, text.replace("<factory>", "..."))


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    """Writes an inline formula; browsers draw MathML without a script or a font from elsewhere."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Writes a displayed formula."""
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def check_offline(app: Sphinx, exception: Exception | None) -> None:
    """Refuses a site that would ask the network for a script, a style, a font or a picture."""
    for page in Path(app.outdir).rglob("*") if exception is None else ():
        if page.suffix in (".html", ".css") and (found := asked(page.read_text(encoding="utf-8"))):
            raise ExtensionError(f"{page}: {found!r} needs a network")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("builder-inited", write_api_pages)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    app.connect("autodoc-process-signature", short_types)
    app.connect("missing-reference", resolve)
    app.connect("build-finished", check_offline)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
