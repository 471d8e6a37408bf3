"""What the commands share: their own options apart from the run's configuration, and the parts of a configured run."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningCLI

from lit_curriculum.callbacks.curriculum import CurriculumCallback

MakeCLI = Callable[[Sequence[str], bool], LightningCLI]
"""Builds model, data module, trainer and curriculum from (arguments, whether to run a subcommand)."""


def own_options(name: str, description: str) -> argparse.ArgumentParser:
    """A parser for a command's own options; what it does not know is the configuration of the run."""
    epilog = "All other options are those of lit-curriculum fit: layers of --config, then single values."
    return argparse.ArgumentParser(f"lit-curriculum {name}", description=description, epilog=epilog, allow_abbrev=False)


def curriculum_of(trainer: Trainer) -> CurriculumCallback:
    """The configured curriculum."""
    callbacks: list[object] = trainer.callbacks  # type: ignore[attr-defined]
    return next(c for c in callbacks if isinstance(c, CurriculumCallback))
