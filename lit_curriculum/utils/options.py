"""Options of policies, metrics and other parts: recorded where they are given, and checked in one place.

What identifies a run is the options that it was given. :class:`Configured` records them, so that a checkpoint and
``run.json`` hold plain values, and a resumed run is compared with them.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from numbers import Integral, Real
from pathlib import PurePath
from types import UnionType
from typing import Any, ClassVar, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
_GIVEN = "_given_options"
_SECRET = re.compile(r"(^|_)(api_?key|password|secret|(access|auth|hf)_token)$")


class Configured:
    """Base class of parts that a configuration names; records the arguments of their constructor.

    Arguments are plain (none, numbers, strings, paths, lists and dicts of these) or parts with a base class of this
    module; others are refused. Arguments named as a secret, such as ``api_key``, are never recorded. Arguments that are
    annotated with ``Literal`` are checked before the constructor runs. Subclasses need no code for this.
    """

    option_path: ClassVar[str] = ""
    """What precedes an option's name in messages; by default the name of the class."""
    runtime_options: ClassVar[frozenset[str]] = frozenset()
    """Options that change no result, so that a resumed run may have others."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = _recording(cls.__init__)  # type: ignore[method-assign]


class NamedPart(ABC):
    """Base class of parts of which only a name is recorded: arguments such as keys and addresses never are."""

    @property
    @abstractmethod
    def recorded_name(self) -> str:
        """What is recorded among a run's options."""


def options_of(part: Configured) -> dict[str, Plain]:
    """The constructor's arguments of ``part``, defaults included; a part among them is its class and its options."""
    return {name: _plain(value) for name, value in _given(part).items()}


def flat_options(path: str, part: Configured, *, runtime: bool = True) -> dict[str, Plain]:
    """Class and options of ``part`` and of the parts inside, each under its path in a configuration.

    Args:
        path: Of ``part``, such as ``curriculum.policy``.
        part: The part.
        runtime: Include options that change no result.
    """
    found: dict[str, Plain] = {path: type(part).__qualname__}
    for name, value in _given(part).items():
        if runtime or name not in part.runtime_options:
            found |= dict(_flat(f"{path}.{name}", value, runtime))
    return found


def check_choice(option: str, value: object, allowed: tuple[Any, ...]) -> None:
    """Refuse a value that is not among the ``allowed`` ones.

    Raises:
        ValueError: names option, value and choices.
    """
    if value not in allowed:
        raise ValueError(f"{option} must be one of {', '.join(map(str, allowed))}, got {value!r}.")


def check_range(owner: str | Configured, interval: str, **options: float | None) -> None:
    """Refuse numbers outside of an interval; none is always allowed.

    Args:
        owner: The part whose options these are, or what precedes their names in messages, such as ``data``.
        interval: As in mathematics: ``"(0, 1]"``, ``"[1, inf)"``.
        **options: Name -> value.

    Raises:
        ValueError: names option, value and interval.
    """
    low, high = (float(end) for end in interval[1:-1].split(","))
    for name, value in options.items():
        if value is None:
            continue
        inside = (low <= value if interval[0] == "[" else low < value) and (
            value <= high if interval[-1] == "]" else value < high
        )
        if not inside:
            least = f"at least {low:g}" if interval[0] == "[" else f"above {low:g}"
            raise ValueError(
                f"{_path(owner, name)} must be {least if high == math.inf else f'in {interval}'}, got {value}."
            )


def check_exactly_one(owner: str | Configured, **options: object) -> None:
    """Refuse options of which none or more than one is given.

    Raises:
        ValueError: names all of them with their values.
    """
    if sum(value is not None for value in options.values()) != 1:
        *first, last = options
        got = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise ValueError(f"{_path(owner)}: give exactly one of {', '.join(first)} and {last} (got {got}).")


def _path(owner: str | Configured, name: str = "") -> str:
    path = owner if isinstance(owner, str) else owner.option_path or type(owner).__name__
    return f"{path}.{name}" if path and name else path or name


def _recording(init: Callable[..., None]) -> Callable[..., None]:
    """``init``, which checks and records its arguments first; those of the outermost constructor are recorded."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def recorded(self: Configured, *args: Any, **kwargs: Any) -> None:
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError:
            return init(self, *args, **kwargs)  # which says what is wrong in Python's own words
        bound.apply_defaults()
        given: dict[str, Any] = {}
        for name, value in list(bound.arguments.items())[1:]:
            given |= value if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD else {name: value}
        _check_literals(self, init, given)
        if _GIVEN not in vars(self):
            vars(self)[_GIVEN] = {
                name: _stored(value, self, name) for name, value in given.items() if not _SECRET.search(name)
            }
        return init(self, *args, **kwargs)

    return recorded


def _given(part: Configured) -> dict[str, Any]:
    found = getattr(part, _GIVEN, None)
    if found is None:  # a dataclass, whose constructor is made after the class, or a class without any
        names: list[str] = (
            [f.name for f in dataclasses.fields(part) if f.init] if dataclasses.is_dataclass(part) else []
        )
        found = {name: _stored(getattr(part, name), part, name) for name in names if not _SECRET.search(name)}
    return dict(found)


def _stored(value: Any, owner: Configured, name: str) -> Any:
    """``value`` as it is recorded: plain, copied, with the parts in it as they are."""
    if value is None or isinstance(value, (bool, Configured, NamedPart)):
        return value
    if isinstance(value, (str, PurePath)):
        return str(value)
    if isinstance(value, Integral | Real):
        return int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, (list, tuple)):
        return [_stored(item, owner, name) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _stored(item, owner, name) for key, item in value.items()}
    raise ValueError(
        f"option {_path(owner, name)} of {type(owner).__name__} is or holds a {type(value).__name__}, which cannot be "
        "recorded with a run; give numbers, strings, lists, dicts with string keys, or an object of a Configured class."
    )


def _plain(value: Any) -> Plain:
    if isinstance(value, NamedPart):
        return value.recorded_name
    if isinstance(value, Configured):
        return {"class": type(value).__qualname__, **options_of(value)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _flat(path: str, value: Any, runtime: bool) -> Iterator[tuple[str, Plain]]:
    if isinstance(value, Configured):
        yield from flat_options(path, value, runtime=runtime).items()
    elif isinstance(value, list) and any(isinstance(item, Configured) for item in value):
        yield path, [type(item).__qualname__ for item in value]
        for number, item in enumerate(value):
            yield from _flat(f"{path}[{number}]", item, runtime)
    else:
        yield path, _plain(value)


@functools.cache
def _literals(init: Callable[..., None]) -> dict[str, tuple[tuple[Any, ...], tuple[type, ...]]]:
    """Argument -> its ``Literal`` choices, and the types that are allowed beside them."""
    try:
        hints = get_type_hints(init)
    except NameError:  # an annotation that is imported for type checkers alone
        return {}
    found = {}
    for name, hint in hints.items():
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
        types = [get_origin(kind) or kind for kind in kinds if get_origin(kind) is not Literal]
        if choices:
            found[name] = (tuple(choices), tuple(kind for kind in types if isinstance(kind, type)))
    return found


def _check_literals(owner: Configured, init: Callable[..., None], given: Mapping[str, Any]) -> None:
    for name, (choices, types) in _literals(init).items():
        if name in given and not isinstance(given[name], types):
            check_choice(_path(owner, name), given[name], choices)
