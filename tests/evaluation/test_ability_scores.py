"""Scores by ability against a slow reference implementation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lit_curriculum.evaluation.ability_scores import ability_scores


def _items(size: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    return {
        "abilities": [("sort", "echo")[k] for k in generator.integers(2, size=size)],
        "right": generator.random(size) < 0.6,
        "nll_sum": 5 * generator.random(size),
        "num_scored": generator.integers(1, 9, size=size),
        "chance": generator.random(size) / 2,
    }


def _reference_scores(items: dict[str, Any]) -> dict[str, dict[str, float]]:
    out = {}
    for name in dict.fromkeys(items["abilities"]):
        rows = [i for i, ability in enumerate(items["abilities"]) if ability == name]
        p = sum(bool(items["right"][i]) for i in rows) / len(rows)
        c = sum(float(items["chance"][i]) for i in rows) / len(rows)
        nll = sum(float(items["nll_sum"][i]) for i in rows) / sum(int(items["num_scored"][i]) for i in rows)
        out[name] = {"accuracy": p, "nll": nll, "chance": c, "kappa": (p - c) / (1 - c), "num_examples": len(rows)}
    return out


@pytest.mark.parametrize("size", [0, 1, 101])
def test_scores_are_those_of_the_reference(size: int) -> None:
    items = _items(size)
    found, expected = ability_scores(**items), _reference_scores(items)
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-12)
        assert isinstance(found[name]["num_examples"], int)


def test_by_hand() -> None:
    found = ability_scores(
        ["a", "b", "a"], np.array([1, 1, 0]), np.array([1.0, 9.0, 2.0]), np.array([2, 3, 4]), np.array([0.25, 0, 0.25])
    )
    assert found == {
        "a": {"accuracy": 0.5, "nll": 0.5, "chance": 0.25, "kappa": pytest.approx(1 / 3), "num_examples": 2},
        "b": {"accuracy": 1.0, "nll": 3.0, "chance": 0.0, "kappa": 1.0, "num_examples": 1},
    }


def test_unknown_chance_is_nan_for_the_ability_concerned() -> None:
    ones = np.ones(3)
    found = ability_scores(["echo", "sort", "sort"], ones, ones, ones, np.array([0.5, math.nan, 0.5]))
    assert found["echo"]["kappa"] == 1.0
    assert math.isnan(found["sort"]["chance"])
    assert math.isnan(found["sort"]["kappa"])
    assert found["sort"]["accuracy"] == 1.0


def test_no_tokens_give_no_loss() -> None:
    none = np.zeros(1)
    assert math.isnan(ability_scores(["echo"], np.ones(1), none, none, none)["echo"]["nll"])
