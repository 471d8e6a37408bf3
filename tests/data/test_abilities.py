"""Generated abilities: the teacher is right, the planted truth is true, validation is unseen, all of it repeats."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from lit_curriculum.data.abilities import ABILITIES, ability, generate, is_held_out
from lit_curriculum.data.ability_tasks import MAX_LEVEL, Ability
from lit_curriculum.types import Example

LEVELS = range(1, MAX_LEVEL + 1)


def _reference_answer(key: str, instruction: str) -> str | None:
    """The same answers by other means than the package's."""
    operand = re.split(r"\s", instruction)[-1]
    if key in ("copy", "echo"):
        return operand
    if key == "reverse":
        return "".join(operand[len(operand) - 1 - i] for i in range(len(operand)))
    if key == "sort":
        return "".join(letter for letter in "abcdefghijklmnop" if letter in operand)
    if key == "parity":
        return "even" if len(operand.split("x")) % 2 else "odd"
    if key == "add":
        return str(sum(int(number) for number in re.findall(r"\d+", operand)))
    if key == "brackets":
        missing = [n for n, pair in (("round", "()"), ("square", "[]"), ("curly", "{}"))
                   if operand.count(pair[0]) != operand.count(pair[1])]  # fmt: skip
        assert len(missing) == 1
        return missing[0]
    if key == "style":
        style = instruction.split()[1]
        return {"shout": f"{operand.upper()}!", "ask": f"{operand}?", "quote": f'"{operand}"'}[style]
    return None


def _is_nested(text: str) -> bool:
    """Whether a string without its letters reduces to one opening bracket by taking out pairs."""
    text = re.sub(r"[a-z]", "", text)
    while (shorter := re.sub(r"\(\)|\[\]|\{\}", "", text)) != text:
        text = shorter
    return text in tuple("([{")


@pytest.mark.parametrize("task", ABILITIES, ids=lambda a: a.key)
@pytest.mark.parametrize("level", LEVELS)
def test_the_teacher_is_right(task: Ability, level: int) -> None:
    rng = np.random.default_rng(level)
    for _ in range(200):
        instruction, response = task.make(level, rng)
        expected = _reference_answer(task.key, instruction)
        if task.key == "noise":
            assert task.answer(instruction) is None
            continue
        assert task.answer(instruction) == response
        assert expected in (None, response)
        assert len(instruction) + len(response) <= 60
        # Two letters or digits side by side, which word n-grams need.
        assert re.search(r"\w\w", response)


@pytest.mark.parametrize("task", ABILITIES, ids=lambda a: a.key)
def test_chance_is_one_over_the_number_of_answers(task: Ability) -> None:
    rng = np.random.default_rng(0)
    for level in LEVELS:
        num_answers = 1 / task.chance(level)
        assert num_answers == pytest.approx(round(num_answers))
        answers = {task.make(level, rng)[1] for _ in range(2500)}
        assert len(answers) <= round(num_answers)
        if num_answers <= 200:  # few enough for the sample to have seen them all
            assert len(answers) == round(num_answers)


def test_chance_of_adding_by_enumeration() -> None:
    sums: dict[int, set[int]] = defaultdict(set)
    for a in range(100, 1000):
        for b in range(1, 10):
            if a % 10 + b > 9:
                sums[4].add(a + b)
                continue
            sums[3].add(a + b)
            if b <= 3:
                sums[2].add(a + b)
            if b == 1:
                sums[1].add(a + b)
        sums[5] |= {a + b for b in range(10, 100)}
        sums[6] |= {a + b for b in range(100, 1000)}
    assert {level: len(found) for level, found in sums.items()} == {
        level: round(1 / ability("add").chance(level)) for level in LEVELS
    }


def test_levels_are_true_difficulties() -> None:
    rng = np.random.default_rng(0)
    for level in LEVELS:
        for key in ("copy", "reverse", "sort", "echo", "noise"):
            operands = [ability(key).make(level, rng)[0].split()[-1] for _ in range(50)]
            assert {len(o) for o in operands} == {level + 1}
        counts = Counter(ability("parity").make(level, rng)[0].count("x") for _ in range(600))
        assert set(counts) == set(range(level + 1))
        odd = sum(n for count, n in counts.items() if count % 2)
        assert 230 < odd < 370
        strings = [ability("brackets").make(level, rng)[0].split()[-1] for _ in range(100)]
        assert all(_is_nested(s) for s in strings)
        assert {sum(s.count(c) for c in ")]}") for s in strings} == {level - 1}
        creatures = {ability("lookup").make(level, rng)[0].split()[-1] for _ in range(5000)}
        assert len(creatures) == 8 * 2 ** (level - 1)


def test_a_fact_has_one_home_whatever_the_level_or_speaker() -> None:
    rng = np.random.default_rng(0)
    homes: dict[str, str] = {}
    levels: dict[str, int] = {}
    for level in LEVELS:
        for _ in range(3000):
            instruction, home = ability("lookup").make(level, rng)
            creature = ability("lookup").topic(instruction)
            assert homes.setdefault(creature, home) == home
            assert levels.setdefault(creature, level) == level


def _texts(examples: list[Example]) -> list[tuple[str, str]]:
    return [(e.instruction, e.response) for e in examples]


def test_same_seed_same_data() -> None:
    first, second, other = generate(400, 8, 3), generate(400, 8, 3), generate(400, 8, 4)
    assert first == second
    assert _texts(first[0]) != _texts(other[0])
    assert [e.index for e in first[0]] == list(range(400))
    assert len({e.id for e in first[0] + first[1]}) == 480


def test_counts_of_abilities_and_levels() -> None:
    train, val = generate(2000, 20, 0, levels=4, duplicate_share=0.0, noise_share=0.0)
    assert Counter((e.ability, e.meta["level"]) for e in train) == {
        (a.key, level): 50 for a in ABILITIES for level in range(1, 5)
    }
    assert Counter((e.ability, e.meta["level"]) for e in val) == {
        (a.key, level): 5 for a in ABILITIES for level in range(1, 5)
    }
    # Any prefix is a fair sample.
    assert all(60 < count < 140 for count in Counter(e.ability for e in train[:1000]).values())


@pytest.mark.parametrize("levels", [1, 4, MAX_LEVEL])
def test_validation_is_unseen_and_clean(levels: int) -> None:
    train, val = generate(3000, 24, 1, levels=levels)
    assert not {e.instruction for e in train} & {e.instruction for e in val}
    assert not any(is_held_out(e.instruction) for e in train)
    assert all(is_held_out(e.instruction) for e in val)
    assert not any(e.meta["is_noise"] for e in val)
    for e in val:
        assert e.ability == "noise" or (ability(e.ability).answer(e.instruction) == e.response)
        assert e.meta["chance"] == ability(e.ability).chance(e.meta["level"])
    lookup = ability("lookup")
    taught = {lookup.topic(e.instruction) for e in train if e.ability == "lookup" and not e.meta["is_noise"]}
    asked = {lookup.topic(e.instruction) for e in val if e.ability == "lookup"}
    assert asked
    assert asked <= taught


def test_duplicates_are_all_marked() -> None:
    train, _ = generate(3000, 4, 0, duplicate_share=0.1)
    first: dict[str, int] = {}
    for e in train:
        earlier = first.setdefault(e.content_hash, e.index)
        assert e.meta["is_duplicate_of"] == (None if earlier == e.index else earlier)
    marked = [e for e in train if e.meta["is_duplicate_of"] is not None]
    assert 300 <= len(marked) <= 310
    for e in marked:
        original = train[e.meta["is_duplicate_of"]]
        assert original.meta["is_duplicate_of"] is None
        assert (e.ability, e.meta["level"], e.meta["is_noise"]) == (
            original.ability,
            original.meta["level"],
            original.meta["is_noise"],
        )


def test_where_instructions_run_out_repeats_are_marked() -> None:
    train, _ = generate(3000, 1, 0, levels=1, duplicate_share=0.0, noise_share=0.0)
    copies = [e for e in train if e.ability == "copy"]
    assert len(copies) == 300  # of 16 * 16 strings
    distinct = {e.instruction for e in copies}
    assert sum(e.meta["is_duplicate_of"] is None for e in copies) == len(distinct) < 257


def test_planted_noise_is_wrong_and_everything_else_right() -> None:
    train, _ = generate(3000, 4, 0, duplicate_share=0.0, noise_share=0.1)
    assert sum(e.meta["is_noise"] for e in train) == 270
    noisy_abilities = set()
    for e in train:
        if e.ability == "noise":
            assert not e.meta["is_noise"]
            continue
        assert (ability(e.ability).answer(e.instruction) == e.response) != e.meta["is_noise"]
        if e.meta["is_noise"]:
            noisy_abilities.add(e.ability)
    assert len(noisy_abilities) == 9


def test_noise_labels_are_balanced_and_independent() -> None:
    train, _ = generate(3000, 4, 0, levels=2)
    labels = Counter(e.response for e in train if e.ability == "noise")
    assert len(labels) == 3
    assert max(labels.values()) < 1.3 * min(labels.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_train": 0}, r"data\.num_train must be at least 1, got 0"),
        ({"num_val_per_ability": 0}, r"data\.num_val_per_ability must be at least 1, got 0"),
        ({"levels": 7}, r"data\.levels must be in \[1, 6\], got 7"),
        ({"duplicate_share": 1.0}, r"data\.duplicate_share must be in \[0, 1\), got 1\.0"),
        ({"noise_share": -0.1}, r"data\.noise_share must be in \[0, 1\), got -0\.1"),
        ({"num_train": 10}, r"data\.num_train is too small: .* no example of lookup at level 2"),
    ],
)
def test_options_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(**{"num_train": 100, "num_val_per_ability": 4, "seed": 0, **options})  # type: ignore[arg-type]


def test_an_unknown_ability_is_named() -> None:
    with pytest.raises(ValueError, match=r"no generated ability 'paint'; there are echo, copy"):
        ability("paint")
