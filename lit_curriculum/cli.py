"""The command line: Lightning's fit, validate, test and predict with a curriculum, and our own commands beside them."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from typing_extensions import override

from lit_curriculum.callbacks.curriculum import CurriculumCallback

_USAGE = """usage: lit-curriculum COMMAND [options]

Runs (LightningCLI; layer yaml files with several --config, see configs/):
  fit        train with a curriculum
  validate   evaluate on the validation data
  test       evaluate on the test data
  predict    per-example losses of a model

Tools:
  export     write a Hugging Face folder from a checkpoint

lit-curriculum COMMAND --help lists the options of a command.
"""


class CurriculumCLI(LightningCLI):
    """LightningCLI with a ``curriculum:`` block and any module and data module by ``class_path``."""

    def __init__(self, args: Sequence[str] | None = None, run: bool = True) -> None:
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            # Stages may differ in size, and a loader's length is read only when it is loaded.
            trainer_defaults={"reload_dataloaders_every_n_epochs": 1},
            save_config_kwargs={"overwrite": True},
            args=list(args) if args is not None else None,
            run=run,
        )

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(CurriculumCallback, "curriculum")


def export_command(args: Sequence[str]) -> None:
    """``lit-curriculum export --run DIR --out DIR``: write a Hugging Face folder from a run's checkpoint."""
    from jsonargparse import ArgumentParser

    from lit_curriculum.models.export import export_run

    parser = ArgumentParser(prog="lit-curriculum export", description="Write a Hugging Face folder from a checkpoint.")
    parser.add_argument("--run", type=str, required=True, help="folder of the run, the one that holds config.yaml")
    parser.add_argument(
        "--checkpoint", type=str | None, default=None, help="checkpoint file; the run's last by default"
    )
    parser.add_argument("--out", type=str, required=True, help="folder to write")
    parser.add_argument("--merge_lora", type=bool, default=True, help="merge adapters into the weights")
    given = parser.parse_args(list(args))
    cli = CurriculumCLI(args=["--config", str(Path(given.run) / "config.yaml")], run=False)
    export_run(cli.model, cli.datamodule, Path(given.run), given.checkpoint, Path(given.out), given.merge_lora)


_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {"export": export_command}


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of ``lit-curriculum``; returns the exit status.

    What our own code refuses ends in one sentence on standard error; any other exception keeps its traceback.
    """
    given = list(sys.argv[1:] if args is None else args)
    if not given or given[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return 0
    try:
        if given[0] in _COMMANDS:
            _COMMANDS[given[0]](given[1:])
        else:
            CurriculumCLI(given)
    except (ValueError, OSError, MisconfigurationException) as error:
        if not _is_ours(error) or os.environ.get("LIT_CURRICULUM_TRACEBACK"):
            raise
        print(f"lit-curriculum: error: {error}", file=sys.stderr)
        return 2
    return 0


def _is_ours(error: BaseException) -> bool:
    """True where the exception was raised on purpose, by a line of this package."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(Path(__file__).parent)


if __name__ == "__main__":
    sys.exit(main())
