"""``lit-curriculum fit``, ``validate`` and ``export``: LightningCLI with a curriculum."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from typing_extensions import override

from lit_curriculum.callbacks.progress_bar import install_progress_bar
from lit_curriculum.loop.callback import CurriculumCallback
from lit_curriculum.loop.checkpoints import latest_checkpoint
from lit_curriculum.loop.checks import curriculum_data
from lit_curriculum.types import ExampleStore
from lit_curriculum.utils.command_parser import CommandParser, parser_refusal


class RunParser(LightningArgumentParser):
    """Lightning's parser, whose help also lists the options of the default data module and model."""

    @override
    def format_help(self, formatter: Any = None) -> str:
        """Add the options of the default data module and model to the help."""
        from lit_curriculum import CausalLMModule, InstructionDataModule

        shown = ArgumentParser(usage=argparse.SUPPRESS, add_help=False)
        for block, kind in (("data", InstructionDataModule), ("model", CausalLMModule)):
            shown.add_class_arguments(kind, block)
            shown.groups[block].title = (  # type: ignore[index]
                f"Options of lit_curriculum.{kind.__name__}, the default of --{block} (of another one: --{block}.help "
                "CLASS)"
            )
        return super().format_help(formatter) + shown.format_help()


class CurriculumCLI(LightningCLI):
    """LightningCLI with a ``curriculum:`` block and any module and data module by ``class_path``."""

    def __init__(self, args: Sequence[str] | dict[str, Any] | None = None, run: bool = True) -> None:
        # Tools give arguments as a list on purpose, and Lightning calls its parser in an older way.
        warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
        warnings.filterwarnings("ignore", message=r"[\s\S]*was deprecated in v4.49.0")
        warnings.filterwarnings("ignore", message=r"[\s\S]*JsonargparseDeprecationWarning")
        # Errors come as exceptions, from the parsers of the commands too.
        commands = {
            name: {
                "exit_on_error": False,
                "allow_abbrev": False,
                "usage": f"lit-curriculum {name} [--config FILE ...] [options]",
            }
            for name in self.subcommands()
        }
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            # Stages may differ in size, and a loader's length is read only when it is loaded.
            trainer_defaults={"reload_dataloaders_every_n_epochs": 1},
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"exit_on_error": False, "allow_abbrev": False, **commands},
            parser_class=RunParser,
            # Optimizer and schedule are options of the model.
            auto_configure_optimizers=False,
            args=args if args is None or isinstance(args, dict) else list(args),
            run=run,
        )

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the options; an error is one sentence with the nearest name.

        Raises:
            ValueError: an option does not exist or has no fitting value.
        """
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            command = args[0] if isinstance(args, list) and args and args[0] in self.subcommands() else "fit"
            used = getattr(self, "_subcommand_parsers", {}).get(command, parser)
            known = [option for action in used._actions for option in action.option_strings]
            raise parser_refusal(str(error), known, command) from error

    @override
    def before_instantiate_classes(self) -> None:
        """``seed_everything`` also seeds the curriculum's draws and random weights, unless they have their own seed."""
        options = self.config.get(str(self.subcommand), self.config)
        for block, name in ((options.curriculum, "seed"), (options.model.get("init_args") or {}, "init_seed")):
            if name in block and block[name] is None:
                block[name] = int(options.seed_everything or 0)

    @override
    def instantiate_classes(self) -> None:
        """Also install the package's progress bar, unless another is configured."""
        super().instantiate_classes()
        # The parsed options: the Trainer puts its own bar into the list of callbacks that it is given.
        configured = [c.class_path for c in self._get(self.config, "trainer.callbacks") or []]
        if not any(name.endswith("ProgressBar") for name in configured):
            install_progress_bar(self.trainer)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """``fit`` and ``validate``; there is no test data, and ``score`` takes the place of ``predict``."""
        ours = LightningCLI.subcommands()
        return {name: ours[name] for name in ("fit", "validate")}

    def before_fit(self) -> None:
        """Replace a run's folder in ``--ckpt_path`` by its newest checkpoint that can be resumed.

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


def curriculum_of(trainer: Trainer) -> CurriculumCallback:
    """The curriculum callback of a trainer."""
    callbacks: list[object] = trainer.callbacks  # type: ignore[attr-defined]
    return next(c for c in callbacks if isinstance(c, CurriculumCallback))


def training_examples(trainer: Trainer, model: LightningModule, data: LightningDataModule) -> ExampleStore:
    """The training data, read without starting the trainer."""
    # So that the data module finds the model's tokenizer and context length as it does in a run.
    trainer.strategy.connect(model)
    model.trainer = data.trainer = trainer
    trainer.datamodule = data  # type: ignore[attr-defined]
    data.prepare_data()
    data.setup("fit")
    return curriculum_data(trainer).train_store


def fit_command(args: Sequence[str]) -> None:
    """``lit-curriculum fit``: train with a curriculum."""
    CurriculumCLI(["fit", *args])


def validate_command(args: Sequence[str]) -> None:
    """``lit-curriculum validate``: evaluate on the validation data."""
    CurriculumCLI(["validate", *args])


def open_run(folder: Path) -> CurriculumCLI:
    """The model, data module and trainer of a run, rebuilt from the configuration that it saved.

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

    parser = CommandParser("export", "Write a Hugging Face folder from a checkpoint.")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run, the one that holds config.yaml")
    parser.add_argument("--checkpoint", default=None, help="checkpoint file; the run's last by default")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--merge_lora", choices=("true", "false"), default="true", help="merge adapters into the weights"
    )
    given = parser.parse_args(args)
    cli = open_run(given.run)
    export_run(cli.model, cli.datamodule, given.run, given.checkpoint, given.out, given.merge_lora == "true")
