"""The command line: imports the command that is asked for, and prints what it refuses as one sentence."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lit_curriculum import __version__

_USAGE = """usage: lit-curriculum COMMAND [options]

Runs (LightningCLI; layer yaml files with several --config, see configs/):
  fit        train with a curriculum
  validate   evaluate on the validation data

Tools:
  plan       what a run would do and cost, before any weight is read; fails for the same reasons that a run would
  score      score the data with the metrics of a curriculum: a file of scores, a histogram, what it cost
  merge      join the scores of several machines (score --shard I/N) into one file
  growth     study how abilities grow with their data: run, fit, report
  select     write what a policy chooses from stored scores, as JSONL for any trainer
  evaluate   judge any model on any tasks: a line for every item, a table with intervals
  report     one HTML page about one or more runs: outcome, cost, what the stages were given
  explain    what a run did with an example, with a stage or with the rest, and why
  export     write a Hugging Face folder from a checkpoint

lit-curriculum COMMAND --help lists the options of a command; lit-curriculum --version prints the version.
"""

_COMMANDS = {
    "fit": "commands.run:fit_command",
    "validate": "commands.run:validate_command",
    "plan": "commands.plan:plan_command",
    "score": "commands.score:score_command",
    "merge": "commands.select:merge_command",
    "growth": "methods.doit.command:growth_command",
    "select": "commands.select:select_command",
    "evaluate": "commands.evaluate:evaluate_command",
    "report": "commands.report:report_command",
    "explain": "commands.report:explain_command",
    "export": "commands.run:export_command",
}
"""Command -> module and function, imported when the command is given."""


def main(args: Sequence[str] | None = None) -> int:
    """Run ``lit-curriculum`` and return the exit status.

    What the package refuses ends in one sentence on standard error; any other exception keeps its traceback.
    """
    given = list(sys.argv[1:] if args is None else args)
    if not given or given[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return 0
    if given[0] == "--version":
        print(f"lit-curriculum {__version__}")
        return 0
    if given[0] not in _COMMANDS:
        return _refuse(f"there is no command {given[0]}{_hint(given[0])}lit-curriculum --help lists the commands.")
    try:
        _command(given[0])(given[1:])
    except SystemExit as stop:  # --help and the like
        return stop.code if isinstance(stop.code, int) else 1
    except Exception as error:
        own = _own(error) if _is_refusal(error) else None
        if own is None or os.environ.get("LIT_CURRICULUM_TRACEBACK"):
            raise
        return _refuse(str(own))
    return 0


def _command(name: str) -> Callable[[Sequence[str]], None]:
    module, _, function = _COMMANDS[name].partition(":")
    found: Callable[..., None] = getattr(importlib.import_module(f"lit_curriculum.{module}"), function)
    # The study trains its cells by the same configuration as fit, whose module is above its own.
    return partial(found, _make_run) if name == "growth" else found


def _make_run(args: Sequence[str], run: bool) -> Any:
    from lit_curriculum.commands.run import CurriculumCLI

    return CurriculumCLI(args, run)


def _refuse(sentence: str) -> int:
    print(f"lit-curriculum: error: {sentence}", file=sys.stderr)
    return 2


def _hint(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, _COMMANDS, n=1)
    return f"; did you mean {near[0]}? " if near else "; "


def _is_refusal(error: BaseException) -> bool:
    # By name, as importing the classes would import Lightning.
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"ValueError", "OSError", "MisconfigurationException", "ChatStoppedError"})


def _own(error: BaseException) -> BaseException | None:
    """The error that a line of this package raised on purpose; the argument parser wraps those of model and data."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    if frames and Path(frames[-1].filename).is_relative_to(Path(__file__).parent):
        return error
    return None if error.__cause__ is None else _own(error.__cause__)


if __name__ == "__main__":
    sys.exit(main())
