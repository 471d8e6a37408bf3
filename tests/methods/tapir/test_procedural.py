"""The procedural roles: they answer, judge, extend and classify the generated abilities, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum.data.abilities import ABILITIES, ability, generate, is_held_out
from lit_curriculum.data.ability_tasks import MAX_LEVEL, fact_level
from lit_curriculum.methods.tapir.roles import JudgeItem, TaskItem
from lit_curriculum.methods.tapir.teacher.procedural import (
    ProceduralClassifier,
    ProceduralExpander,
    ProceduralJudge,
    ProceduralRefiner,
    ProceduralTeacher,
    ability_of,
    level_of,
)

TRAIN, _ = generate(400, 2, seed=3, levels=6)


@pytest.mark.parametrize("level", range(1, MAX_LEVEL + 1))
def test_ability_and_level_are_read_off_what_each_ability_makes(level: int) -> None:
    rng = np.random.default_rng(level)
    for task in ABILITIES:
        for _ in range(20):
            instruction, _ = task.make(level, rng)
            assert ability_of(instruction).key == task.key
            found = level_of(instruction)
            # An item of these two may be as easy as one of a lower level.
            assert found <= level if task.key in ("parity", "add") else found == level


def test_teacher_is_right_and_judge_checks() -> None:
    items = [TaskItem(id=e.id, instruction=e.instruction, output=e.response) for e in TRAIN]
    answers = ProceduralTeacher().answer(items)
    for example, answer in zip(TRAIN, answers, strict=True):
        task = ability(str(example.ability))
        assert example.ability == "noise" or task.answer(example.instruction) == answer.text
    judged = ProceduralJudge().judge([JudgeItem(e.instruction, e.response, "~~") for e in TRAIN])
    for example, judgement in zip(TRAIN, judged, strict=True):
        assert judgement.valid
        assert judgement.score_student < 4
        assert (judgement.score_teacher == 10.0) == (not example.meta["is_noise"])
    near = ProceduralJudge().judge([JudgeItem("copy abcd", "abcd", "abcx"), JudgeItem("copy abcd", "abcd", "zzzz")])
    assert [j.score_student for j in near] == [7.0, 1.0]


def test_expander_writes_new_instructions_of_the_level_asked() -> None:
    seeds = [TaskItem(id=e.id, instruction=e.instruction, task=str(e.ability)) for e in TRAIN[:60]]
    known = [e.instruction for e in TRAIN]
    expander = ProceduralExpander(max_level=5)
    new = expander.expand(seeds, 100, known, seed=1).written
    assert len(new) == 100
    assert len({n.instruction for n in new} | set(known)) == 100 + len(set(known))
    parents = {s.id: s for s in seeds}
    for item in new:
        parent = parents[item.parent_id]
        assert item.task == parent.task == ability_of(item.instruction).key
        assert level_of(item.instruction) == min(level_of(parent.instruction), 5)
        assert not is_held_out(item.instruction)
    assert new == expander.expand(seeds, 100, known, seed=1).written
    assert new != expander.expand(seeds, 100, known, seed=2).written


def test_expander_gives_fewer_where_a_level_has_run_out() -> None:
    seeds = [TaskItem(id="a", instruction="copy ab", task="copy")]
    new = ProceduralExpander().expand(seeds, 10_000, []).written
    assert 150 < len(new) < 256
    assert ProceduralExpander().expand([], 5, []).written == []


def test_refiner_mends_planted_noise_and_classifier_knows_all() -> None:
    noisy = [e for e in TRAIN if e.meta["is_noise"]]
    assert noisy
    mended = ProceduralRefiner().refine(
        [TaskItem(id=e.id, instruction=e.instruction, output=e.response) for e in noisy]
    )
    for example, refinement in zip(noisy, mended, strict=True):
        assert refinement.refined
        assert ability_of(example.instruction).answer(example.instruction) == refinement.output
    assert ProceduralClassifier().predict([e.instruction for e in TRAIN]).labels == [e.ability for e in TRAIN]


def test_what_is_not_procedural_is_refused() -> None:
    with pytest.raises(ValueError, match="knows the generated abilities alone"):
        ability_of("Write a poem about the sea.")
    with pytest.raises(ValueError, match="no fact is known of the creature"):
        fact_level("zzz")
    with pytest.raises(ValueError, match=r"ProceduralExpander.max_level must be in \[1, 6\], got 7"):
        ProceduralExpander(max_level=7)
    with pytest.raises(ValueError, match="ProceduralClassifier has nothing to train"):
        ProceduralClassifier().fit(["copy ab"], ["copy"])
