"""Imports run one way: layers, methods apart, no framework in curriculum logic, no circle."""

from __future__ import annotations

from tests.imports import graph, imported, modules

# Each row may import the rows before it, and modules of its own folder.
LAYERS = (
    ("types",),
    ("utils",),
    ("report",),
    ("data", "difficulty", "models"),
    ("curriculum", "chat", "evaluation"),
    ("loop",),
    ("callbacks",),
    ("methods",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
RANK = {name: number for number, layer in enumerate(LAYERS) for name in layer}


def folder(module: str) -> str:
    return module.split(".")[0]


def test_every_folder_has_a_layer() -> None:
    assert {folder(module) for module in modules() if module} == set(RANK)


def test_imports_are_absolute_and_run_from_higher_layers_to_lower_ones() -> None:
    relative = [f"{module}: {name}" for module, path in modules().items() for name in imported(path) if name[0] == "."]
    assert relative == []
    up = [
        f"{module} imports {target}"
        for module, targets in graph().items()
        for target in targets
        if module and folder(module) != folder(target) and RANK[folder(target)] >= RANK[folder(module)]
    ]
    assert up == []


def test_methods_do_not_import_one_another() -> None:
    """A baseline may use a system's parts, where its paper does."""
    crossed = [
        f"{module} imports {target}"
        for module, targets in graph().items()
        for target in targets
        if module.startswith("methods.") and target.startswith("methods.")
        if module.split(".")[1] not in ("baselines", target.split(".")[1])
    ]
    assert crossed == []


def test_curriculum_logic_imports_no_framework() -> None:
    frameworks = {"lightning", "pytorch_lightning", "transformers", "datasets"}
    found = [
        f"{module} imports {name}"
        for module, path in modules().items()
        if folder(module) in ("difficulty", "curriculum") or module.endswith(".policy")
        for name in imported(path)
        if name.split(".")[0] in frameworks
    ]
    assert found == []


def test_reports_import_no_torch() -> None:
    found = [
        f"{module} imports {name}"
        for module, path in modules().items()
        if folder(module) == "report"
        for name in imported(path)
        if name.split(".")[0] in ("torch", "lightning", "transformers")
    ]
    assert found == []


def test_there_is_no_circle() -> None:
    """Modules that import only modules without imports are taken away, until none is left."""
    left = {module: set(targets) for module, targets in graph().items()}
    while leaves := [module for module, targets in left.items() if not targets & set(left)]:
        for module in leaves:
            del left[module]
    assert left == {}


def test_files_name_no_machine() -> None:
    found = [module for module, path in modules().items() if "../shared" in path.read_text(encoding="utf-8")]
    assert found == []
