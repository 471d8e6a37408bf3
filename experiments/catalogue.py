"""Experiments that describe themselves, so that results pages and ``experiments.reproduce`` find them.

A folder of ``experiments`` with a file ``about.py`` is found by that file. It defines those of these constants that
it needs: ``QUESTIONS`` and ``NOTES`` as in ``questions.py``, ``CLAIMS`` and ``SCALES`` as in ``claims.py``, and
``STEPS``, the steps of its suite for every profile as in ``reproduce.py``; the suite has the folder's name.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import experiments

Profile = Literal["tiny", "small", "paper"]


@dataclass(frozen=True)
class Step:
    """One command of a suite."""

    folder: str
    """Its folder below the results."""
    module: str
    arguments: tuple[str, ...] = ()
    data: str | None = None
    """What of the data folder it reads: a file below it, or the folder itself for an empty name; none for nothing."""
    accelerator: bool = False
    """Whether it takes ``--accelerator``."""
    benchmarks: bool = False
    """Whether it tries what it has trained on the evaluation files of the data folder."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim as a difference: ``row`` minus ``against`` in ``measure``, seed by seed."""

    paper: str
    text: str
    folder: str
    """Folder of results with ``cells.jsonl``."""
    row: str
    against: str
    measure: str
    lower_is_better: bool
    config: str
    """The configuration to read, from the top of the repository."""
    budget: tuple[str, ...] = ("examples trained", "trained tokens")
    """Measures of what both were trained on."""
    margin: float = 0.0
    """What ``row`` may be worse by, for a claim that it loses nothing that matters."""
    cost: str | None = None
    """Measure of the row's cost."""
    papers: str = "not known"
    """The paper's own number."""


@cache
def _abouts() -> dict[str, Any]:
    """The ``about.py`` of every folder that has one, in the order of the folders' names."""
    folders = sorted({path.parent.name for place in experiments.__path__ for path in Path(place).glob("*/about.py")})
    return {folder: importlib.import_module(f"experiments.{folder}.about") for folder in folders}


def described(constant: str) -> dict[str, Any]:
    """Folder -> its value of a constant such as ``STEPS``, of the folders whose ``about.py`` defines it."""
    return {folder: getattr(about, constant) for folder, about in _abouts().items() if hasattr(about, constant)}


def merged(constant: str) -> dict[str, Any]:
    """All dictionaries of a constant such as ``QUESTIONS`` in one."""
    return {key: value for found in described(constant).values() for key, value in found.items()}
