"""Reasons for and against each example."""

from __future__ import annotations

import numpy as np

from lit_curriculum import BudgetedRefresh, CampusPolicy, GrowthPacePolicy, IterITPolicy, SelfPacedPolicy, UniformPolicy
from lit_curriculum.curriculum.base import CurriculumPolicy, entry_reasons, stage_reasons
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import make_generator
from tests.conftest import ListStore


def reasons_of(policy: CurriculumPolicy, store: ListStore, scores: dict[str, np.ndarray]) -> list[str]:
    """The words for every example after the first stage."""
    table = DifficultyTable(len(store), list(scores))
    for name, values in scores.items():
        table.enter(name, np.arange(len(store)), values, 0)
    policy.setup(store, 3)
    plan = policy.step(table, 0, make_generator(0, 0, "policy"))
    found = stage_reasons(policy, table, plan)
    words = [found.texts[code] for code in found.codes]
    assert len(words) == len(store)
    assert {i for i, w in enumerate(words) if w.startswith("chosen by")} == set(plan.indices.tolist())
    entries = entry_reasons(policy, table, plan)
    assert all(e.startswith(policy.selection_note() + ": place ") for e in entries)
    assert len(entries) == len(plan)
    return words


def test_iterit_names_what_is_too_hard_and_what_has_no_score(toy_store: ListStore) -> None:
    ifd = np.linspace(0.5, 1.2, 40)
    ifd[3] = np.nan
    words = reasons_of(BudgetedRefresh(IterITPolicy(fraction=None, count=5), "ifd"), toy_store, {"ifd": ifd})
    assert words[3] == "no score by ifd"
    assert {w for w, v in zip(words, ifd, strict=True) if v >= 1} == {"ifd at or above max_complexity 1"}
    below = [w for w, v in zip(words, ifd, strict=True) if v < 1]
    assert sorted(set(below)) == ["chosen by IterITPolicy", "others were preferred"]
    assert below.count("chosen by IterITPolicy") == 5


def test_self_paced_names_the_threshold(toy_store: ListStore) -> None:
    policy = SelfPacedPolicy("loss", 0.25, 1.3, fraction=None, count=20)
    words = reasons_of(policy, toy_store, {"loss": np.arange(1.0, 41.0)})
    assert words[:10] == ["chosen by SelfPacedPolicy"] * 10
    assert words[10:] == ["loss above the threshold"] * 30


def test_campus_names_schedule_and_band(toy_store: ListStore) -> None:
    policy = CampusPolicy(["length"], aware=[], learned=[], num_bands=2, initial_scope=0.25)
    words = reasons_of(policy, toy_store, {"length": np.arange(40.0)})
    assert words[:10] == ["chosen by CampusPolicy: schedule length, band 1"] * 10
    assert set(words[10:]) == {"others were preferred"}


def test_growth_pace_names_its_probe(toy_store: ListStore) -> None:
    policy = GrowthPacePolicy("nll", fraction=0.5, probe=2)
    words = reasons_of(policy, toy_store, {"nll": np.ones(40)})
    assert words.count("a probe, scored and never trained on") == 8
    assert words.count("chosen by GrowthPacePolicy") == 20


def test_a_draw_says_no_more_than_that(toy_store: ListStore) -> None:
    words = reasons_of(UniformPolicy(fraction=0.5), toy_store, {})
    assert sorted(set(words)) == ["chosen by UniformPolicy", "not drawn"]
