"""Four abilities that rest on what was seen in training: echo, style, lookup and noise.

Echo is learnt at once, style asks for known words in one of three manners, lookup needs facts by heart, so that its
accuracy follows the volume of data, and noise cannot be learnt at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lit_curriculum.data.ability_tasks import MAX_LEVEL, SYMBOLS, Ability, choose, last_word, letters

NOISE_LABELS = ("red", "green", "blue")
"""Labels that are given at random."""

_WORDS = tuple(
    tuple(words.split())
    for words in (
        "ax ox hi go up we it no",
        "sun sea cat map fog ice owl jam",
        "fish rope wind moon king lamp tree door",
        "stone river cloud tiger bread plant horse glass",
        "silver window garden pencil bridge summer rabbit castle",
        "lantern harvest village thunder blanket journey penguin crystal",
    )
)
_STYLES: Mapping[str, Callable[[str], str]] = {
    "shout": lambda word: word.upper() + "!",
    "ask": lambda word: word + "?",
    "quote": lambda word: f'"{word}"',
}
_CONSONANTS = "bdfgklmnprstvz"
_VOWELS = "aeiou"
_NUM_HOMES = 20
_NUM_FACTS_AT_LEVEL_1 = 8
_FACT_SEED = 20_240_001


class Echo(Ability):
    """Repeat a common word of ``level + 1`` letters; eight words a level, so chance is 1/8."""

    key = "echo"

    def make(self, level: int, rng: np.random.Generator) -> tuple[str, str]:
        word = choose(_WORDS[level - 1], rng)
        return f"{_speaker(rng)}: say {word}", word

    def answer(self, instruction: str) -> str:
        return last_word(instruction)

    def chance(self, level: int) -> float:
        return 1 / len(_WORDS[level - 1])


class Style(Ability):
    """Say a common word of ``level + 1`` letters in one of three manners; eight words, so chance is 1/24."""

    key = "style"

    def make(self, level: int, rng: np.random.Generator) -> tuple[str, str]:
        style, word = choose(tuple(_STYLES), rng), choose(_WORDS[level - 1], rng)
        return f"{_speaker(rng)}: {style} {word}", _STYLES[style](word)

    def answer(self, instruction: str) -> str:
        _, style, word = instruction.split(" ")
        return _STYLES[style](word)

    def chance(self, level: int) -> float:
        return 1 / (len(_STYLES) * len(_WORDS[level - 1]))


class Lookup(Ability):
    """Where an invented creature lives: ``8 * 2 ** (level - 1)`` facts at a level, to be learnt by heart.

    A higher level shares the same number of examples among more facts, so each is seen less often. The facts are
    the same for every seed. There are 20 homes; chance is one over those that occur at the level.
    """

    key = "lookup"

    def make(self, level: int, rng: np.random.Generator) -> tuple[str, str]:
        facts = _FACTS[level - 1]
        creature = choose(tuple(facts), rng)
        return f"{_speaker(rng)}: home of {creature}", facts[creature]

    def answer(self, instruction: str) -> str:
        creature = last_word(instruction)
        return next(facts[creature] for facts in _FACTS if creature in facts)

    def chance(self, level: int) -> float:
        return 1 / len(set(_FACTS[level - 1].values()))

    def topic(self, instruction: str) -> str:
        return last_word(instruction)


class Noise(Ability):
    """Label a string of ``level + 1`` letters; the label is drawn at random, so nothing beats a chance of 1/3."""

    key = "noise"

    def make(self, level: int, rng: np.random.Generator) -> tuple[str, str]:
        return f"label {letters(SYMBOLS, level + 1, rng)}", choose(NOISE_LABELS, rng)

    def answer(self, instruction: str) -> None:
        return None

    def chance(self, level: int) -> float:
        return 1 / len(NOISE_LABELS)


def fact_level(creature: str) -> int:
    """The level whose facts hold ``creature``.

    Raises:
        ValueError: there is no such fact.
    """
    for level, facts in enumerate(_FACTS, start=1):
        if creature in facts:
            return level
    raise ValueError(f"no fact is known of the creature {creature!r}.")


def _speaker(rng: np.random.Generator) -> str:
    """A name of three letters, which distinguishes instructions that ask for the same."""
    return _syllable(rng).capitalize()


def _syllable(rng: np.random.Generator) -> str:
    return choose(_CONSONANTS, rng) + choose(_VOWELS, rng) + choose(_CONSONANTS, rng)


def _invent_facts() -> tuple[dict[str, str], ...]:
    """A table from creature to home for each level; creatures and homes are invented."""
    rng = np.random.default_rng(_FACT_SEED)
    homes: list[str] = []
    while len(homes) < _NUM_HOMES:
        home = _syllable(rng)
        if home not in homes:
            homes.append(home)
    used: set[str] = set()
    tables: list[dict[str, str]] = []
    for level in range(1, MAX_LEVEL + 1):
        table: dict[str, str] = {}
        while len(table) < _NUM_FACTS_AT_LEVEL_1 * 2 ** (level - 1):
            creature = choose(_CONSONANTS, rng) + choose(_VOWELS, rng) + _syllable(rng)
            if creature not in used:
                used.add(creature)
                table[creature] = choose(homes, rng)
        tables.append(table)
    return tuple(tables)


_FACTS = _invent_facts()
