"""The command line: Lightning's fit and validate with a curriculum, and our own commands beside them."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from typing_extensions import override

from lit_curriculum.chat.chat import DistillStoppedError
from lit_curriculum.loop.callback import CurriculumCallback
from lit_curriculum.loop.checkpoints import latest_checkpoint
from lit_curriculum.loop.progress_bar import install_progress_bar

_USAGE = """usage: lit-curriculum COMMAND [options]

Runs (LightningCLI; layer yaml files with several --config, see configs/):
  fit        train with a curriculum
  validate   evaluate on the validation data

Tools:
  plan       what a run would do and cost, before any weight is read; refuses what the run would refuse
  score      score the data with the metrics of a curriculum: a file of scores, a histogram, what it cost
  merge      join the scores of several machines (score --shard I/N) into one file
  growth     study how abilities grow with their data: run, fit, report
  select     write what a policy chooses from stored scores, as JSONL for any trainer
  evaluate   judge any model on any tasks: a line for every item, a table with intervals
  report     one HTML page about one or more runs: outcome, cost, what the stages were given
  explain    what a run did with an example, with a stage or with the rest, and why
  export     write a Hugging Face folder from a checkpoint

lit-curriculum COMMAND --help lists the options of a command.
"""


class CurriculumCLI(LightningCLI):
    """LightningCLI with a ``curriculum:`` block and any module and data module by ``class_path``."""

    def __init__(self, args: Sequence[str] | dict[str, Any] | None = None, run: bool = True) -> None:
        # Tools give arguments as a list on purpose, and Lightning calls its parser in an older way.
        warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
        warnings.filterwarnings("ignore", message=r"[\s\S]*was deprecated in v4.49.0")
        warnings.filterwarnings("ignore", message=r"[\s\S]*JsonargparseDeprecationWarning")
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            # Stages may differ in size, and a loader's length is read only when it is loaded.
            trainer_defaults={"reload_dataloaders_every_n_epochs": 1},
            save_config_kwargs={"overwrite": True},
            # Errors come to ``main`` as exceptions, for subcommands too.
            parser_kwargs={"exit_on_error": False, **{c: {"exit_on_error": False} for c in self.subcommands()}},
            args=args if args is None or isinstance(args, dict) else list(args),
            run=run,
        )

    @override
    def before_instantiate_classes(self) -> None:
        """``seed_everything`` also seeds what was given no seed of its own: the curriculum's draws, random weights."""
        options = self.config.get(str(self.subcommand), self.config)
        for block, name in ((options.curriculum, "seed"), (options.model.get("init_args") or {}, "init_seed")):
            if name in block and block[name] is None:
                block[name] = int(options.seed_everything or 0)

    @override
    def instantiate_classes(self) -> None:
        """Also: one display of progress, in a file too, where the user has not configured another."""
        super().instantiate_classes()
        # The parsed options: the Trainer puts its own bar into the list of callbacks that it is given.
        configured = [c.class_path for c in self._get(self.config, "trainer.callbacks") or []]
        if not any(name.endswith("ProgressBar") for name in configured):
            install_progress_bar(self.trainer)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Only what there is data and a step for: ``score`` does what ``predict`` would."""
        ours = LightningCLI.subcommands()
        return {name: ours[name] for name in ("fit", "validate")}

    def before_fit(self) -> None:
        """Where ``--ckpt_path`` names the folder of a run, take the newest checkpoint that can be continued.

        Raises:
            FileNotFoundError: there is none in the folder.
        """
        options = self.config_init["fit"]
        folder = Path(options["ckpt_path"] or "")
        if options["ckpt_path"] and folder.is_dir() and not (folder / "meta.pt").exists():
            newest = latest_checkpoint(folder)
            if newest is None:
                raise FileNotFoundError(f"ckpt_path: there is no checkpoint in {folder} that can be continued.")
            options["ckpt_path"] = str(newest)

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(CurriculumCallback, "curriculum")


def open_run(folder: Path) -> CurriculumCLI:
    """The model, data module and trainer of a run, made again from the configuration that it saved.

    Raises:
        FileNotFoundError: the folder holds no ``config.yaml``.
    """
    path = folder / "config.yaml"
    if not path.exists():
        raise FileNotFoundError(f"{folder} is no folder of a run: there is no config.yaml in it.")
    saved = yaml.safe_load(path.read_text(encoding="utf-8"))
    # The rest are arguments of the command that was run, such as ckpt_path.
    kept = {k: v for k, v in saved.items() if k in ("seed_everything", "trainer", "model", "data", "curriculum")}
    return CurriculumCLI(args=kept, run=False)


def export_command(args: Sequence[str]) -> None:
    """``lit-curriculum export --run DIR --out DIR``: write a Hugging Face folder from a run's checkpoint."""
    from lit_curriculum.models.export import export_run

    parser = ArgumentParser(
        prog="lit-curriculum export", description="Write a Hugging Face folder from a checkpoint.", exit_on_error=False
    )
    parser.add_argument("--run", type=str, required=True, help="folder of the run, the one that holds config.yaml")
    parser.add_argument(
        "--checkpoint", type=str | None, default=None, help="checkpoint file; the run's last by default"
    )
    parser.add_argument("--out", type=str, required=True, help="folder to write")
    parser.add_argument("--merge_lora", type=bool, default=True, help="merge adapters into the weights")
    given = parser.parse_args(list(args))
    cli = open_run(Path(given.run))
    export_run(cli.model, cli.datamodule, Path(given.run), given.checkpoint, Path(given.out), given.merge_lora)


def plan_command(args: Sequence[str]) -> None:
    """``lit-curriculum plan``; see :mod:`lit_curriculum.commands.plan`."""
    from lit_curriculum.commands import plan

    plan.plan_command(CurriculumCLI, args)


def score_command(args: Sequence[str]) -> None:
    """``lit-curriculum score``; see :mod:`lit_curriculum.commands.score`."""
    from lit_curriculum.commands import score

    score.score_command(CurriculumCLI, args)


def growth_command(args: Sequence[str]) -> None:
    """``lit-curriculum growth``; see :mod:`lit_curriculum.methods.doit.command`."""
    from lit_curriculum.methods.doit import command as growth

    growth.growth_command(CurriculumCLI, args)


def merge_command(args: Sequence[str]) -> None:
    """``lit-curriculum merge``; see :mod:`lit_curriculum.commands.merge`."""
    from lit_curriculum.commands import merge

    merge.merge_command(args)


def select_command(args: Sequence[str]) -> None:
    """``lit-curriculum select``; see :mod:`lit_curriculum.commands.select`."""
    from lit_curriculum.commands import select

    select.select_command(CurriculumCLI, args)


def explain_command(args: Sequence[str]) -> None:
    """``lit-curriculum explain``; see :mod:`lit_curriculum.commands.explain`."""
    from lit_curriculum.commands import explain

    explain.explain_command(args)


def evaluate_command(args: Sequence[str]) -> None:
    """``lit-curriculum evaluate``; see :mod:`lit_curriculum.commands.evaluate`."""
    from lit_curriculum.commands import evaluate

    evaluate.evaluate_command(args)


def report_command(args: Sequence[str]) -> None:
    """``lit-curriculum report``; see :mod:`lit_curriculum.commands.report`."""
    from lit_curriculum.commands import report

    report.report_command(args)


_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "evaluate": evaluate_command,
    "explain": explain_command,
    "export": export_command,
    "growth": growth_command,
    "merge": merge_command,
    "plan": plan_command,
    "report": report_command,
    "score": score_command,
    "select": select_command,
}


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
            # Lightning reads the process's own arguments where it is given none, and warns where it gets both.
            CurriculumCLI(None if args is None else given)
    except (ValueError, OSError, MisconfigurationException, DistillStoppedError) as error:
        own = _own(error)
        if own is None or os.environ.get("LIT_CURRICULUM_TRACEBACK"):
            raise
        print(f"lit-curriculum: error: {own}", file=sys.stderr)
        return 2
    except ArgumentError as error:
        print(f"lit-curriculum: error: {_one_sentence(str(error))}", file=sys.stderr)
        return 2
    except SystemExit as stop:  # --help and the like
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def _one_sentence(message: str) -> str:
    """What the argument parser says over many lines, without its account of every type that it tried."""
    tried = ("Does not validate", "Subtypes:", "Errors:", "Given value", "- Expected a <class 'NoneType'>")
    lines = [line.strip() for line in message.splitlines()]
    kept = [line.removeprefix("- ") for line in lines if line and not line.startswith(tried)]
    return " ".join(kept) + "; lit-curriculum COMMAND --help lists the options."


def _own(error: BaseException) -> BaseException | None:
    """The error that a line of this package raised on purpose; the argument parser wraps those of model and data."""
    frames = traceback.extract_tb(error.__traceback__)
    if frames and Path(frames[-1].filename).is_relative_to(Path(__file__).parent):
        return error
    return None if error.__cause__ is None else _own(error.__cause__)


if __name__ == "__main__":
    sys.exit(main())
