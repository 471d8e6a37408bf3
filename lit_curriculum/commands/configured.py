"""What the commands share: their own options apart from the run's configuration, and the parts of a configured run."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningCLI

from lit_curriculum import __version__
from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.difficulty.learned import LearnedMetric
from lit_curriculum.difficulty.score_store import StoredScores
from lit_curriculum.loop.callback import CurriculumCallback
from lit_curriculum.loop.checks import curriculum_data
from lit_curriculum.types import ExampleStore

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


def refuse_learned(metrics: Mapping[str, DifficultyMetric], command: str) -> None:
    """Refuse metrics that learn from the run that they are part of.

    Raises:
        ValueError: names the first one.
    """
    for name, metric in metrics.items():
        if isinstance(metric, LearnedMetric) and not metric.stands_alone:
            raise ValueError(
                f"curriculum.metrics.{name} ({type(metric).__name__}) learns while a model is trained, so "
                f"lit-curriculum {command} has no score of it; leave it out of curriculum.metrics, or train with it "
                "(lit-curriculum fit)."
            )


def training_examples(trainer: Trainer, model: LightningModule, data: LightningDataModule) -> ExampleStore:
    """The training data, read without starting the trainer."""
    # So that the data module finds the model's tokenizer and context length as it does in a run.
    trainer.strategy.connect(model)
    model.trainer = data.trainer = trainer
    trainer.datamodule = data  # type: ignore[attr-defined]
    data.prepare_data()
    data.setup("fit")
    return curriculum_data(trainer).train_store


def check_scores(stored: StoredScores, formulas: dict[str, str], examples: ExampleStore) -> None:
    """Refuse scores of other data, another encoding or another formula.

    Raises:
        ValueError: names what differs.
    """
    suffix = "+bf16" if stored.key.autocast == "bfloat16" else ""
    known = {
        n: f + suffix if stored.key.formulas[n].endswith("+bf16") else f
        for n, f in formulas.items()
        if n in stored.key.formulas
    }
    encoding = dict(getattr(examples, "identity", {}))
    stored.check({"formulas": known, "encoding": encoding, "version": __version__})
