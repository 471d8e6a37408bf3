"""Options are recorded as they were given, plain or not at all, and checked in one place."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from abc import ABC
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from lit_curriculum.utils.options import (
    Configured,
    NamedPart,
    check_exactly_one,
    check_range,
    flat_options,
    options_of,
)

Side = Literal["left", "right"]


class Part(Configured, ABC):
    option_path: ClassVar[str] = "the.part"
    runtime_options = frozenset({"workers"})

    def __init__(self, size: int, side: Side = "left", /, *, workers: int | Literal["auto"] = "auto") -> None:
        self.kept = size * 2


class Client(NamedPart):
    def __init__(self, key: str) -> None:
        self.key = key

    @property
    def recorded_name(self) -> str:
        return "a-model"


class Whole(Configured):
    """Keeps nothing under the names of its arguments."""

    def __init__(self, part: Part | None = None, others: Any = (), client: Client | None = None, **more: Any) -> None:
        """Make it."""


class Narrow(Part):
    def __init__(self, *sizes: int) -> None:
        super().__init__(sum(sizes), "right")


@dataclass
class Fields(Configured):
    size: int = 3
    side: Side = "left"


def test_what_was_given_is_recorded_with_defaults_and_parts() -> None:
    part = Part(1)
    assert options_of(part) == {"size": 1, "side": "left", "workers": "auto"}
    whole = Whole(part, [Part(2), 3.5, Path("a/b")], more={"x": (1, None)}, flag=True)
    found = options_of(whole)
    assert found == {
        "part": {"class": "Part", "size": 1, "side": "left", "workers": "auto"},
        "others": [{"class": "Part", "size": 2, "side": "left", "workers": "auto"}, 3.5, "a/b"],
        "client": None, "more": {"x": [1, None]}, "flag": True,
    }  # fmt: skip
    assert json.loads(json.dumps(found)) == found
    assert options_of(Fields(side="right")) == {"size": 3, "side": "right"}
    assert options_of(Narrow(1, 2)) == {"sizes": [1, 2]}, "the outermost constructor's"
    assert options_of(type("Bare", (Configured,), {})()) == {}


def test_what_changes_later_does_not_change_what_was_given() -> None:
    given = {"a": [1]}
    whole = Whole(others=given)
    given["a"].append(2)
    assert options_of(whole)["others"] == {"a": [1]}


def test_copies_and_pickles_keep_the_options() -> None:
    whole = Whole(Part(4))
    for other in (copy.deepcopy(whole), copy.copy(whole), pickle.loads(pickle.dumps(whole))):
        assert options_of(other) == options_of(whole)


def test_paths_name_every_option_and_leave_out_what_changes_no_result() -> None:
    whole = Whole(Part(1), [Part(2), Part(3)])
    found = flat_options("policy", whole, runtime=False)
    assert found == {
        "policy": "Whole", "policy.part": "Part", "policy.part.size": 1, "policy.part.side": "left",
        "policy.others": ["Part", "Part"], "policy.others[0]": "Part", "policy.others[0].size": 2,
        "policy.others[0].side": "left", "policy.others[1]": "Part", "policy.others[1].size": 3,
        "policy.others[1].side": "left", "policy.client": None,
    }  # fmt: skip
    assert flat_options("policy", whole)["policy.part.workers"] == "auto"


def test_a_client_is_a_name_and_its_key_is_nowhere() -> None:
    whole = Whole(client=Client("sk-secret"))
    assert options_of(whole)["client"] == flat_options("w", whole)["w.client"] == "a-model"
    assert "secret" not in repr(options_of(whole))


def test_secrets_are_not_recorded() -> None:
    assert options_of(Whole(api_key="sk-1", hf_token="hf-1", api_key_env="KEY", max_tokens=3)) == {
        "part": None, "others": [], "client": None, "api_key_env": "KEY", "max_tokens": 3,
    }  # fmt: skip


@pytest.mark.parametrize(("value", "kind"), [(print, "builtin_function_or_method"), ({1: 2}, "dict"), ([{3}], "set")])
def test_what_is_not_plain_is_refused(value: Any, kind: str) -> None:
    with pytest.raises(ValueError, match=rf"option Whole\.others of Whole is or holds a {kind}"):
        Whole(others=value)


def test_choices_are_checked_from_their_annotations() -> None:
    with pytest.raises(ValueError, match=r"the\.part\.side must be one of left, right, got 'up'"):
        Part(1, "up")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"the\.part\.workers must be one of auto, got 'all'"):
        Part(1, workers="all")  # type: ignore[arg-type]
    assert options_of(Part(1, workers=2))["workers"] == 2


def test_signatures_and_pythons_own_errors_stay() -> None:
    assert list(inspect.signature(Part).parameters) == ["size", "side", "workers"]
    assert Whole.__init__.__doc__ == "Make it."
    with pytest.raises(TypeError, match=r"Part.__init__\(\) missing 1 required positional argument: 'size'"):
        Part()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("interval", "inside", "outside", "words"),
    [
        ("(0, 1]", 1.0, 0.0, r"in \(0, 1\]"),
        ("[0, 1)", 0.0, 1.0, r"in \[0, 1\)"),
        ("[1, inf)", 1, 0, "at least 1"),
        ("(0, inf)", 0.5, float("nan"), "above 0"),
    ],
)
def test_ranges(interval: str, inside: float, outside: float, words: str) -> None:
    check_range("a", interval, x=inside, y=None)
    with pytest.raises(ValueError, match=rf"a\.x must be {words}, got {outside}"):
        check_range("a", interval, x=outside)
    with pytest.raises(ValueError, match=r"the\.part\.size must be"):
        check_range(Part(1), interval, size=outside)


def test_exactly_one() -> None:
    check_exactly_one("a", x=0, y=None)
    with pytest.raises(ValueError, match=r"a: give exactly one of x, y and z \(got x=1"):
        check_exactly_one("a", x=1, y=None, z="b")
