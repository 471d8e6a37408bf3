"""The difficulty table: one way in, what it refuses, growth and state."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from lit_curriculum import DifficultyTable
from lit_curriculum.difficulty.table import NEVER


def filled() -> DifficultyTable:
    table = DifficultyTable(5, ["loss", "ease"], {"ease": False})
    table.enter("loss", np.array([3, 0, 1]), np.array([2.0, np.nan, 0.5]), stage=4)
    table.enter("ease", np.arange(5), np.arange(5.0), stage=0)
    return table


def test_scores_and_unscorable_examples_enter_together() -> None:
    table = filled()
    np.testing.assert_array_equal(table.scores["loss"], [np.nan, 0.5, np.nan, 2.0, np.nan])
    assert table.scored_at["loss"].tolist() == [4, 4, NEVER, 4, NEVER]
    assert table.unscorable("loss").tolist() == [True, False, False, False, False]
    assert table.never_scored("loss").tolist() == [False, False, True, False, True]
    table.enter("loss", np.array([0, 1]), np.array([1.0, np.nan]), stage=5)
    assert table.unscorable("loss").tolist() == [False, True, False, False, False]


def test_infinite_scores_are_refused_and_nothing_enters() -> None:
    table = filled()
    with pytest.raises(ValueError, match=r"metric 'loss': 1 of 2 scores are infinite"):
        table.enter("loss", np.array([1, 2]), np.array([9.0, -np.inf]), stage=6)
    assert table.scores["loss"][1] == 0.5
    assert table.scored_at["loss"].max() == 4


def test_hardness_has_one_direction() -> None:
    assert filled().hardness("ease").tolist() == [0.0, -1.0, -2.0, -3.0, -4.0]


def test_it_grows_and_never_shrinks() -> None:
    table = filled()
    table.grow(7)
    assert table.never_scored("ease").tolist() == [False] * 5 + [True] * 2
    assert table.part(np.array([6, 3])).scores["loss"][1] == 2.0
    with pytest.raises(ValueError, match="cannot shrink from 7 to 6"):
        table.grow(6)


def test_state_round_trips_and_foreign_state_is_refused() -> None:
    file = io.BytesIO()
    torch.save(filled().state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    again = DifficultyTable(5, ["loss", "ease"])
    again.load_state_dict(state)
    for name in ("loss", "ease"):
        np.testing.assert_array_equal(again.scores[name], filled().scores[name])
        np.testing.assert_array_equal(again.scored_at[name], filled().scored_at[name])
    with pytest.raises(ValueError, match=r"holds metrics \['ease', 'loss'\]"):
        DifficultyTable(5, ["loss"]).load_state_dict(state)
    with pytest.raises(ValueError, match="has 5 examples, the data have 6"):
        DifficultyTable(6, ["loss", "ease"]).load_state_dict(state)
    with pytest.raises(ValueError, match="version 3"):
        again.load_state_dict({**state, "version": 3})
