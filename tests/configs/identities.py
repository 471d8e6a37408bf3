"""A check of what identifies a run."""

from __future__ import annotations

import inspect
import io
import json
import re
from typing import Any

import torch

from lit_curriculum import CurriculumCallback, StagePreparer
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.loop.resume import run_identity
from lit_curriculum.utils.options import Configured, options_of

RUNTIME = {"token_budget", "cache_dir"}
"""Options of metrics that change no score."""


def parts_in(given: Any) -> list[Configured]:
    """The configured objects among options, however deep."""
    items = given.values() if isinstance(given, dict) else given if isinstance(given, list) else []
    below = [part for item in items for part in parts_in(item)]
    return [given, *parts_in(vars(given).get("_given_options", {}))] if isinstance(given, Configured) else below


def check_options(path: str, given: dict[str, Any], identity: dict[str, Any]) -> None:
    """Every option of the parsed configuration is in the identity, with its value."""
    assert identity[path] == given["class_path"].rsplit(".", 1)[-1]
    for name, value in given.get("init_args", {}).items():
        if name in RUNTIME and ".metrics." in path:
            assert f"{path}.{name}" not in identity
        elif isinstance(value, dict) and "class_path" in value:
            check_options(f"{path}.{name}", value, identity)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for number, item in enumerate(value):
                check_options(f"{path}.{name}[{number}]", item, identity)
        else:
            assert identity[f"{path}.{name}"] == value, f"{path}.{name}"


def check_identity(cli: CurriculumCLI) -> None:
    """What identifies a run is plain, and holds every option of its policy, metrics and preparers."""
    callbacks: list[Any] = cli.trainer.callbacks  # type: ignore[attr-defined]
    [loop] = [c for c in callbacks if isinstance(c, CurriculumCallback)]
    identity = run_identity(cli.trainer, loop.planner)

    assert json.loads(json.dumps(identity)) == identity
    saved = io.BytesIO()
    torch.save(identity, saved)
    saved.seek(0)
    assert torch.load(saved, weights_only=True) == identity
    assert not re.search(r"0x[0-9a-f]{6}|object at", repr(identity))
    config = cli.config.curriculum.as_dict()
    check_options("curriculum.policy", config["policy"], identity)
    for name, metric in (config["metrics"] or {}).items():
        check_options(f"curriculum.metrics.{name}", metric, identity)
    preparers = [c for c in callbacks if isinstance(c, StagePreparer)]
    assert all(identity[type(c).__name__] == type(c).__name__ for c in preparers)
    for part in parts_in([loop.policy, *loop.metrics.values(), *preparers]):
        assert set(options_of(part)) == set(inspect.signature(type(part)).parameters)
