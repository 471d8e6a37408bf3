"""Rules of the generated abilities: instructions, answers, levels and chances.

Four abilities rest on what was seen in training. Echo is learnt at once, style asks for known words in one of three
manners, lookup needs facts by heart, so that its accuracy follows the volume of data, and noise cannot be learnt.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from math import comb
from typing import ClassVar

import numpy as np

MAX_LEVEL = 6
"""Highest difficulty level that every ability can make."""
SYMBOLS = "abcdefghijklmnop"
"""Letters of the strings that are copied, reversed and sorted."""
FILLERS = "bcdfgklm"
"""Letters that mean nothing."""

_NUM_PARITY_LETTERS = 7
_ADDEND = ((1, 1), (1, 3), (1, 9), (1, 9), (10, 99), (100, 999))
_BRACKETS = {"(": "round", "[": "square", "{": "curly"}
_OPENER = {")": "(", "]": "[", "}": "{"}
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


class Ability(ABC):
    """One task: it makes instructions of a given level, answers them, and checks answers.

    A level is the *true* difficulty: the number of symbols, operations or competing facts that the answer
    depends on. Levels run from 1 to :data:`MAX_LEVEL`.
    """

    key: ClassVar[str]
    """Name of the ability, as in ``Example.ability``."""

    @abstractmethod
    def make(self, level: int, rng: np.random.Generator) -> tuple[str, str]:
        """A random instruction of difficulty ``level`` and its response."""

    @abstractmethod
    def answer(self, instruction: str) -> str | None:
        """The right response to an instruction of this ability, or none where there is no right one."""

    @abstractmethod
    def chance(self, level: int) -> float:
        """Probability that a blind guess is right.

        The guesser knows the answers that the ability can have at ``level``, picks one of them uniformly, and
        does not read the instruction.
        """

    def topic(self, instruction: str) -> str:
        """The fact that an answer presupposes; empty where the rule is enough."""
        del instruction
        return ""


class Copy(Ability):
    """Repeat ``level + 1`` random letters; chance 16 ** -(level + 1)."""

    key = "copy"

    def make(self, level: int, rng: np.random.Generator) -> tuple[str, str]:
        text = letters(SYMBOLS, level + 1, rng)
        return f"copy {text}", text

    def answer(self, instruction: str) -> str:
        return last_word(instruction)

    def chance(self, level: int) -> float:
        return float(len(SYMBOLS)) ** -(level + 1)


class Reverse(Copy):
    """Write ``level + 1`` random letters backwards; chance 16 ** -(level + 1)."""

    key = "reverse"

    def make(self, level: int, rng: np.random.Generator) -> tuple[str, str]:
        text = letters(SYMBOLS, level + 1, rng)
        return f"reverse {text}", text[::-1]

    def answer(self, instruction: str) -> str:
        return last_word(instruction)[::-1]


class Sort(Ability):
    """Put ``level + 1`` different letters of 16 in alphabetical order; chance 1 / binomial(16, level + 1)."""

    key = "sort"

    def make(self, level: int, rng: np.random.Generator) -> tuple[str, str]:
        text = "".join(rng.choice(list(SYMBOLS), size=level + 1, replace=False))
        return f"sort {text}", "".join(sorted(text))

    def answer(self, instruction: str) -> str:
        return "".join(sorted(last_word(instruction)))

    def chance(self, level: int) -> float:
        return 1 / comb(len(SYMBOLS), level + 1)


class Parity(Ability):
    """Is the number of ``x`` among seven letters even or odd; there are at most ``level`` of them; chance 1/2."""

    key = "parity"

    def make(self, level: int, rng: np.random.Generator) -> tuple[str, str]:
        # The answer is drawn first, so that both are equally frequent at every level.
        odd = int(rng.integers(2))
        count = int(rng.choice(np.arange(odd, level + 1, 2)))
        text = list("x" * count + letters(FILLERS, _NUM_PARITY_LETTERS - count, rng))
        return f"parity {''.join(rng.permutation(text))}", ("even", "odd")[odd]

    def answer(self, instruction: str) -> str:
        return ("even", "odd")[last_word(instruction).count("x") % 2]

    def chance(self, level: int) -> float:
        return 1 / 2


class Add(Ability):
    """Add to a number of three digits.

    The second number is 1 at level 1, 1 to 3 at level 2, 1 to 9 at levels 3 and 4, and has two digits at level 5
    and three at level 6. Levels 1 to 3 have no carry, level 4 always has one. Chance is one over the number of
    different sums: 810 up to level 4, then 989 and 1799.
    """

    key = "add"

    def make(self, level: int, rng: np.random.Generator) -> tuple[str, str]:
        low, high = _ADDEND[level - 1]
        while True:
            a, b = int(rng.integers(100, 1000)), int(rng.integers(low, high + 1))
            if level > 4 or (a % 10 + b > 9) == (level == 4):
                return f"add {a}+{b}", str(a + b)

    def answer(self, instruction: str) -> str:
        a, b = last_word(instruction).split("+")
        return str(int(a) + int(b))

    def chance(self, level: int) -> float:
        low, high = _ADDEND[level - 1]
        # Ninety leading pairs of digits; one of ten last digits needs the opposite carry.
        return 1 / 810 if level <= 4 else 1 / (999 + high - (100 + low) + 1)


class Brackets(Ability):
    """Name the one bracket that is never closed, beside ``level - 1`` matched pairs of any kind; chance 1/3."""

    key = "brackets"

    def make(self, level: int, rng: np.random.Generator) -> tuple[str, str]:
        before = int(rng.integers(level))
        opener = choose("([{", rng)
        text = _balanced(before, rng) + opener + _balanced(level - 1 - before, rng)
        return f"open {text}", _BRACKETS[opener]

    def answer(self, instruction: str) -> str:
        unclosed: list[str] = []
        for symbol in last_word(instruction):
            if symbol in _BRACKETS:
                unclosed.append(symbol)
            elif symbol in _OPENER:
                unclosed.remove(_OPENER[symbol])
        return _BRACKETS[unclosed[0]]

    def chance(self, level: int) -> float:
        return 1 / 3


def choose(options: Sequence[str], rng: np.random.Generator) -> str:
    """One of ``options``, uniformly."""
    return options[int(rng.integers(len(options)))]


def letters(alphabet: str, length: int, rng: np.random.Generator) -> str:
    """A string of ``length`` letters, drawn with replacement."""
    return "".join(alphabet[i] for i in rng.integers(len(alphabet), size=length))


def last_word(instruction: str) -> str:
    """What follows the last space: the operand of every instruction."""
    return instruction.rsplit(" ", 1)[-1]


def _balanced(num_pairs: int, rng: np.random.Generator) -> str:
    """Letters with ``num_pairs`` matched pairs of brackets around and after one another."""
    text = letters(FILLERS, 2, rng)
    for _ in range(num_pairs):
        closer = choose(")]}", rng)
        opener = _OPENER[closer]
        text = f"{opener}{text}{closer}" if rng.integers(2) else f"{text}{opener}{letters(FILLERS, 1, rng)}{closer}"
    return text


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
