"""Generated instruction data with planted truth: ten abilities, known difficulty, known duplicates, known noise.

``Example.meta`` of every example holds what is known about it:

====================  ============================================================================
``level``             true difficulty, from 1
``chance``            probability that a blind guess is right (see :meth:`Ability.chance`)
``is_duplicate_of``   index of the first example with the same messages, or none
``is_noise``          whether a wrong response was planted; only in abilities that have a right one
====================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from functools import partial
from typing import NamedTuple
from zlib import crc32

import numpy as np

from lit_curriculum.data.ability_tasks import (
    MAX_LEVEL,
    Ability,
    Add,
    Brackets,
    Copy,
    Echo,
    Lookup,
    Noise,
    Parity,
    Reverse,
    Sort,
    Style,
)
from lit_curriculum.data.formats import content_hash
from lit_curriculum.types import Example, Message, make_generator
from lit_curriculum.utils.options import check_range

ABILITIES: tuple[Ability, ...] = (
    Echo(),
    Copy(),
    Reverse(),
    Sort(),
    Parity(),
    Add(),
    Brackets(),
    Lookup(),
    Style(),
    Noise(),
)
"""All abilities, in the order of tables and figures."""

VERSION = 1
"""Raised whenever the same options would give other data."""

_HELD_OUT_EVERY = 8
_NUM_ATTEMPTS_FOR_NEW = 50
_MAX_ATTEMPTS = 20_000


def ability(key: str) -> Ability:
    """The ability of that name.

    Raises:
        ValueError: there is none.
    """
    for candidate in ABILITIES:
        if candidate.key == key:
            return candidate
    raise ValueError(f"there is no generated ability {key!r}; there are {', '.join(a.key for a in ABILITIES)}.")


def is_held_out(instruction: str) -> bool:
    """Whether an instruction belongs to validation: one in eight, by its CRC-32, whatever the seed.

    Check this before adding generated training data, so that validation stays unseen.
    """
    return crc32(instruction.encode()) % _HELD_OUT_EVERY == 0


def generate(
    num_train: int,
    num_val_per_ability: int,
    seed: int,
    levels: int = 4,
    duplicate_share: float = 0.05,
    noise_share: float = 0.05,
) -> tuple[list[Example], list[Example]]:
    """Training and validation examples.

    Abilities and levels are equally frequent and in random order, so any prefix of the training data is a fair
    sample of it. No validation instruction occurs in training; a validation question about a fact asks one that
    training holds. Validation has no planted duplicates and no planted noise.

    Args:
        num_train: Number of training examples, duplicates included.
        num_val_per_ability: Number of validation examples of each ability.
        seed: The data depend on it and on the options alone.
        levels: Highest level of difficulty, from 1 to 6.
        duplicate_share: Share of the training examples that are copies of an earlier one, in [0, 1). Where a
            level has fewer different instructions than are asked for, more copies arise; they are marked too.
        noise_share: Share of the original training examples, those of the ability ``noise`` apart, whose response
            is the right one of another instruction of the same ability and level, in [0, 1).

    Returns:
        The training examples and the validation examples, each indexed from 0.

    Raises:
        ValueError: an option is out of range, or the training data hold no fact to ask for in validation.
    """
    check_options(num_train, num_val_per_ability, levels, duplicate_share, noise_share)
    rng = make_generator(seed, 0, "abilities-train")
    num_copies = round(duplicate_share * num_train)
    originals = _originals(num_train - num_copies, levels, noise_share, rng)
    # Position 0 has no earlier example to copy.
    is_copy = np.zeros(num_train, dtype=bool)
    is_copy[rng.choice(num_train - 1, size=num_copies, replace=False) + 1] = True
    train: list[_Row] = []
    for index, num_before in enumerate(np.cumsum(~is_copy)):
        train.append(originals[int(rng.integers(num_before)) if is_copy[index] else num_before - 1])
    return _to_examples("train", train), _to_examples("val", _validation(num_val_per_ability, seed, levels, originals))


class _Row(NamedTuple):
    task: Ability
    level: int
    instruction: str
    response: str
    is_noise: bool = False


def _originals(count: int, levels: int, noise_share: float, rng: np.random.Generator) -> list[_Row]:
    """Rows of all abilities and levels in random order, with planted noise."""
    seen: set[str] = set()
    rows = [
        _draw(ABILITIES[i % len(ABILITIES)], int(i) // len(ABILITIES) % levels + 1, rng, seen, _is_for_training)
        for i in rng.permutation(count)
    ]
    clean = [i for i, row in enumerate(rows) if row.task.answer(row.instruction) is not None]
    for i in rng.choice(clean, size=round(noise_share * len(clean)), replace=False) if clean else ():
        other = _draw(rows[i].task, rows[i].level, rng, set(), partial(_differs, rows[i]))
        rows[i] = rows[i]._replace(response=other.response, is_noise=True)
    return rows


def _validation(num_per_ability: int, seed: int, levels: int, train: Sequence[_Row]) -> list[_Row]:
    """Held-out rows, ability by ability, that presuppose no fact which ``train`` lacks."""
    rng = make_generator(seed, 0, "abilities-val")
    seen: set[str] = set()
    topics = {row.task.topic(row.instruction) for row in train if not row.is_noise} | {""}
    return [
        _draw(task, i % levels + 1, rng, seen, partial(_is_for_validation, topics))
        for task in ABILITIES
        for i in range(num_per_ability)
    ]


def _is_for_training(row: _Row) -> bool:
    return not is_held_out(row.instruction)


def _is_for_validation(topics: Set[str], row: _Row) -> bool:
    return is_held_out(row.instruction) and row.task.topic(row.instruction) in topics


def _differs(other: _Row, row: _Row) -> bool:
    return row.response != other.response


def _draw(
    task: Ability, level: int, rng: np.random.Generator, seen: set[str], is_allowed: Callable[[_Row], bool]
) -> _Row:
    """A random row that is allowed, with an instruction that is not in ``seen`` unless they seem to run out."""
    repeated: _Row | None = None
    for attempt in range(_MAX_ATTEMPTS):
        row = _Row(task, level, *task.make(level, rng))
        if is_allowed(row):
            if row.instruction not in seen:
                seen.add(row.instruction)
                return row
            repeated = row
        if repeated is not None and attempt >= _NUM_ATTEMPTS_FOR_NEW:
            return repeated
    raise ValueError(
        f"data.num_train is too small: the training data hold no example of {task.key} at level {level} that "
        f"validation could ask for; raise data.num_train or lower data.levels (now {level} or more)."
    )


def _to_examples(split: str, rows: Sequence[_Row]) -> list[Example]:
    examples: list[Example] = []
    first_index: dict[tuple[str, str], int] = {}
    for index, row in enumerate(rows):
        first = first_index.setdefault((row.instruction, row.response), index)
        meta = {
            "level": row.level,
            "chance": row.task.chance(row.level),
            "is_duplicate_of": None if first == index else first,
            "is_noise": row.is_noise,
        }
        messages = (Message(role="user", content=row.instruction), Message(role="assistant", content=row.response))
        examples.append(
            Example(
                index=index,
                id=f"{split}-{index}",
                messages=messages,
                content_hash=content_hash(messages),
                ability=row.task.key,
                source=f"abilities:{split}:{index}",
                meta=meta,
            )
        )
    return examples


def check_options(num_train: int, num_val: int, levels: int, duplicate_share: float, noise_share: float) -> None:
    """Refuse options of the generated data that are out of range.

    Raises:
        ValueError: an option is out of range.
    """
    check_range("data", "[1, inf)", num_train=num_train, num_val_per_ability=num_val)
    check_range("data", f"[1, {MAX_LEVEL}]", levels=levels)
    check_range("data", "[0, 1)", duplicate_share=duplicate_share, noise_share=noise_share)
