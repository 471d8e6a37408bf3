"""Competence sampling, bands one after the other or added up, and self-paced learning."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum import BabyStepsPolicy, CompetencePolicy, CurriculumPolicy, SelfPacedPolicy
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import make_generator
from tests.conftest import ListStore, make_example

NUM = 40


def _store(num: int = NUM) -> ListStore:
    return ListStore([make_example(i, f"answer {i}") for i in range(num)])


def _table(stage: int = 0, shift: float = 0.0) -> DifficultyTable:
    """Hardness equals the index; the last example has no score."""
    table = DifficultyTable(NUM, ["loss"])
    table.enter("loss", np.arange(NUM), np.append(np.arange(NUM - 1) / 10 + shift, np.nan), stage)
    return table


def _plans(policy: CurriculumPolicy, stages: int) -> list[list[int]]:
    policy.setup(_store(), stages)
    found = []
    for stage in range(stages):
        if policy.finished(stage):
            break
        found.append(policy.step(_table(), stage, make_generator(0, stage, "policy")).indices.tolist())
    assert [len(p) for p in found] == list(policy.stage_sizes(NUM, stages))
    return found


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_competence_sampling_never_draws_beyond_its_scope(power: float) -> None:
    policy = CompetencePolicy("loss", initial_scope=0.1, power=power, count=500, fraction=None)
    with pytest.raises(ValueError, match="between 1 and the 40 examples"):
        policy.setup(_store(), 4)
    plans = _plans(CompetencePolicy("loss", initial_scope=0.1, power=power), 4)
    drawn = [i for plan in plans for i in plan]
    for step, index in enumerate(drawn):
        progress = step / len(drawn)
        scope = (progress * (1 - 0.1**power) + 0.1**power) ** (1 / power)
        assert index < max(1, int(scope * NUM + 1e-9))
    assert max(drawn) > 30
    half = _plans(CompetencePolicy("loss", initial_scope=0.1, power=power, duration=0.5), 4)
    assert np.mean([i for plan in half[2:] for i in plan]) == pytest.approx(19.5, abs=4)


def test_one_pass_partitions_and_baby_steps_add_up() -> None:
    plans = _plans(BabyStepsPolicy("loss", num_bands=4), 5)
    assert [sorted(p) for p in plans] == [list(range(k, k + 10)) for k in (0, 10, 20, 30, 0)]
    assert plans[0] != sorted(plans[0])
    steps = _plans(BabyStepsPolicy("loss", mode="baby_steps", num_bands=4), 5)
    assert [sorted(p) for p in steps] == [list(range(n)) for n in (10, 20, 30, 40, 40)]
    assert len(_plans(BabyStepsPolicy("loss"), 3)) == 3


def test_phases_stay_for_several_stages_alone_or_cumulative() -> None:
    phases = _plans(BabyStepsPolicy("loss", num_bands=2, stages_per_band=2), 5)
    assert [sorted(p) for p in phases] == [list(range(k, k + 20)) for k in (0, 0, 20, 20, 0)]
    assert phases[0] != phases[1]
    added = _plans(BabyStepsPolicy("loss", mode="baby_steps", num_bands=2, stages_per_band=2), 4)
    assert [sorted(p) for p in added] == [list(range(n)) for n in (20, 20, 40, 40)]
    assert [len(p) for p in _plans(BabyStepsPolicy("loss", stages_per_band=2), 4)] == [20] * 4  # two bands fit
    with pytest.raises(ValueError, match=r"max_epochs=3 is less than curriculum.policy.num_bands=2 of 2 stage"):
        _plans(BabyStepsPolicy("loss", num_bands=2, stages_per_band=2), 3)
    with pytest.raises(ValueError, match=r"curriculum.policy.stages_per_band must be at least 1, got 0"):
        BabyStepsPolicy("loss", stages_per_band=0)


def test_banded_runs_end_with_their_budget() -> None:
    plans = _plans(BabyStepsPolicy("loss", mode="baby_steps", num_bands=4, budget_passes=1.0), 9)
    assert [len(p) for p in plans] == [10, 20, 10]
    assert set(plans[-1]) < set(range(30))
    with pytest.raises(ValueError, match=r"hold 60 examples, fewer than the 80 of curriculum.policy.budget_passes=2"):
        _plans(BabyStepsPolicy("loss", num_bands=2, budget_passes=2.0), 3)
    with pytest.raises(ValueError, match=r"trainer.max_epochs=3 is less than curriculum.policy.num_bands=4"):
        _plans(BabyStepsPolicy("loss", num_bands=4), 3)


def test_self_paced_learning_lets_in_what_is_below_a_growing_threshold() -> None:
    policy = SelfPacedPolicy("loss", initial_fraction=0.25, growth=2.0)
    policy.setup(_store(), 3)
    assert policy.candidates(DifficultyTable(NUM, ["loss"]), 0).tolist() == list(range(NUM))
    assert NUM - 1 not in policy.candidates(_table(), 1)
    first = policy.step(_table(), 0, make_generator(0, 0, "policy"))
    assert set(first.indices.tolist()) == set(range(9))
    assert first.scalars["threshold"] == pytest.approx(0.8)
    assert len(first) == NUM == policy.stage_sizes(NUM, 3)[0]
    other = SelfPacedPolicy("loss", initial_fraction=0.25, growth=2.0)
    other.setup(_store(), 3)
    other.load_state_dict(policy.state_dict())
    # Losses have fallen by 0.5 and the threshold has doubled.
    for each in (policy, other):
        second = each.step(_table(1, -0.5), 1, make_generator(0, 1, "policy"))
        assert set(second.indices.tolist()) == set(range(22))
    third = policy.step(_table(2, 100.0), 2, make_generator(0, 2, "policy"))
    assert set(third.indices.tolist()) == {0}


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"duration must be in \(0, 1\]"):
        CompetencePolicy("loss", duration=0.0)
    with pytest.raises(ValueError, match="initial_scope must be in"):
        CompetencePolicy("loss", initial_scope=0.0)
    with pytest.raises(ValueError, match="mode must be one of one_pass, baby_steps"):
        BabyStepsPolicy("loss", mode="other")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_bands must be at least 1"):
        BabyStepsPolicy("loss", num_bands=0)
    with pytest.raises(ValueError, match="budget_passes must be above 0"):
        BabyStepsPolicy("loss", budget_passes=0.0)
    with pytest.raises(ValueError, match=r"initial_fraction must be in \(0, 1\]"):
        SelfPacedPolicy("loss", initial_fraction=0.0)
    with pytest.raises(ValueError, match="growth must be above 1"):
        SelfPacedPolicy("loss", growth=1.0)
    policy = SelfPacedPolicy("loss")
    policy.setup(_store(), 1)
    empty = DifficultyTable(NUM, ["loss"])
    empty.enter("loss", np.arange(NUM), np.full(NUM, np.nan), 0)
    with pytest.raises(ValueError, match="no example has a score by 'loss'"):
        policy.step(empty, 0, make_generator(0, 0, "policy"))
    with pytest.raises(ValueError, match="policy state of version 7"):
        policy.load_state_dict({"version": 7})
