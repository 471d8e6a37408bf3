"""One argument parser for all commands, and one sentence for everything that a parser refuses."""

from __future__ import annotations

import argparse
import difflib
import importlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from typing_extensions import override

_RUN_OPTIONS = ("config", "seed_everything", "trainer", "model", "data", "curriculum", "print_config")
_RUN_EPILOG = (
    "All other options are those of lit-curriculum fit (see lit-curriculum fit --help): layers of --config, then "
    "single values."
)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Continue a sentence with the nearest of ``known``, or with a semicolon if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}? " if near else "; "


def parse_shard(text: str) -> tuple[int, int]:
    """``I/N`` of the option ``--shard`` as (I, N).

    Raises:
        ValueError: it is not of that form, or I is not from 1 to N.
    """
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ValueError(f"--shard {text} must be I/N with I from 1 to N, such as 1/4.")
    return int(part), int(parts)


class CommandParser(argparse.ArgumentParser):
    """Parser of a command's own options; everything that it refuses is a ``ValueError`` of one sentence.

    Args:
        name: Of the command.
        description: One sentence for ``--help``.
        takes_run: Whether the command also takes the options of ``lit-curriculum fit``.
    """

    def __init__(self, name: str, description: str, takes_run: bool = False) -> None:
        super().__init__(
            f"lit-curriculum {name}", description=description, epilog=_RUN_EPILOG if takes_run else None,
            allow_abbrev=False,
        )  # fmt: skip

    @override
    def error(self, message: str) -> NoReturn:
        self._refuse(f"{message}; ")

    def _refuse(self, message: str) -> NoReturn:
        raise ValueError(f"{message}{self.prog} --help lists the options.")

    @override
    def parse_args(self, args: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]
        """The own options.

        Raises:
            ValueError: an option is unknown, missing or out of range.
        """
        own, rest = self.parse_known_args(list(args))
        if rest:
            self._refuse_unknown(rest[0], self._own())
        return own

    def parse_with_run(self, args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """The own options, and the options of the run that are left.

        Raises:
            ValueError: an option belongs to neither.
        """
        own, rest = self.parse_known_args(list(args))
        for given in rest:
            if given.startswith("--") and re.split(r"[.=+]", given[2:], maxsplit=1)[0] not in _RUN_OPTIONS:
                self._refuse_unknown(given, [*self._own(), *(f"--{name}" for name in _RUN_OPTIONS)])
        return own, rest

    def _own(self) -> list[str]:
        return [option for action in self._actions for option in action.option_strings]

    def _refuse_unknown(self, given: str, known: Sequence[str]) -> NoReturn:
        name = given.partition("=")[0]
        self._refuse(f"there is no option {name}{did_you_mean(name.partition('.')[0], known)}")


_BLANK = re.compile(r"\s+")
_STEP = re.compile(r"""Parser key "(?P<key>[^"]+)"|Problem with given class_path '(?P<path>[^']+)'""")
_NO_OPTION = re.compile(r"(?:Option|does not accept option) '(?P<option>[^']+)'")
_NO_CLASS = re.compile(
    r"No (?P<module>[\w.]+) attribute (?P<name>\w+)|Expected a dot import path string: (?P<bare>\w+)"
)
_UNKNOWN = re.compile(r"unrecognized arguments: (?P<option>[^\s=]+)")
_CALLABLE = re.compile(r"Got value: Namespace\(class_path='(?P<path>[^']+)'")
_EXPECTED = re.compile(r"Expected <class '(?P<type>\w+)'>")
_VALUE = re.compile(r"Given value: (?P<value>.+)")


def parser_refusal(message: str, known: Iterable[str], command: str = "fit") -> ValueError:
    """What jsonargparse says over many lines, as one sentence with the place, the value and what to do.

    Args:
        message: Of jsonargparse.
        known: Options of the parser, such as ``--trainer.max_epochs``.
        command: Whose ``--help`` lists the options.
    """
    text, help_ = _BLANK.sub(" ", message), f"lit-curriculum {command} --help lists the options."
    known = [option for option in known if option.startswith("--")]
    if (found := _UNKNOWN.search(text)) is not None:
        return ValueError(f"there is no option {found['option']}{_nearest_option(found['option'], known)}{help_}")
    no_option, no_class = _NO_OPTION.search(text), _NO_CLASS.search(text)
    at = no_option or no_class
    steps = list(_STEP.finditer(text, 0, at.start() if at else len(text)))
    place = ".".join(step["key"] for step in steps if step["key"])
    path = next((step["path"] for step in reversed(steps) if step["path"]), None)
    if no_option is not None:
        option = no_option["option"].removeprefix("init_args.")
        if (called := _CALLABLE.search(text)) is not None:
            path = called["path"]
        if path is None:
            given = f"--{option}"
            return ValueError(f"there is no option {given}{_nearest_option(given, known)}{help_}")
        near = did_you_mean(option.partition(".")[0], option_names(path))
        first = next(step["path"] for step in steps if step["path"]) if steps else path
        if f"--{steps[0]['key']}.help" in known and first == path:
            help_ = f"lit-curriculum {command} --{steps[0]['key']}.help {path} lists its options."
        return ValueError(f"{place}: {path} has no option {option}{near}{help_}")
    if no_class is not None:
        module, name = no_class["module"] or "lit_curriculum", no_class["name"] or no_class["bare"]
        near_names = difflib.get_close_matches(name, dir(importlib.import_module(module)), n=1)
        hint = "give a class path, such as lit_curriculum.IterITPolicy."
        if near_names:
            hint = f"did you mean {module}.{near_names[0]}?"
        given = name if no_class["bare"] else f"{module}.{name}"
        return ValueError(f"{place}{': ' if place else ''}there is no class {given}; {hint}")
    types, value = list(dict.fromkeys(_EXPECTED.findall(text))), _VALUE.search(message)
    if place and types and value is not None:
        wanted = " or ".join("null" if name == "NoneType" else name for name in types)
        return ValueError(f"{place} must be {wanted}, got {value['value']}; {help_}")
    return ValueError(f"{_one_sentence(message)}; {help_}")


def option_names(path: str) -> list[str]:
    """Names of the options of a class by its path."""
    from jsonargparse import ArgumentParser

    module, _, name = path.rpartition(".")
    parser: Any = ArgumentParser()
    names: list[str] = parser.add_class_arguments(getattr(importlib.import_module(module), name), fail_untyped=False)
    return names


def _nearest_option(given: str, known: Sequence[str]) -> str:
    """The nearest option to the first two parts of ``given``, as what follows belongs to a class."""
    names = [option for option in known if not option.endswith((".help", "+"))]
    return did_you_mean(".".join(given.split(".")[:2]), names)


def _one_sentence(message: str) -> str:
    """What the argument parser says over many lines, without its account of every type that it tried."""
    tried = ("Does not validate", "Subtypes:", "Errors:", "Given value", "- Expected a <class 'NoneType'>")
    lines = [line.strip() for line in message.splitlines()]
    return " ".join(line.removeprefix("- ") for line in lines if line and not line.startswith(tried))
