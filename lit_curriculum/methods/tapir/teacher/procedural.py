"""Procedural teacher, judge and other roles for the generated abilities, by rules instead of a language model.

A rule answers each instruction, so this teacher is always right, writes new instructions of a known level, and
judges by checking. Nothing here measures how well a language model plays these roles.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from lit_curriculum.data.abilities import ABILITIES, ability, is_held_out
from lit_curriculum.data.ability_tasks import MAX_LEVEL, NOISE_LABELS, Ability, fact_level, last_word
from lit_curriculum.methods.tapir.roles import (
    Answer,
    Expander,
    Expansion,
    JudgeItem,
    Judgement,
    NewInstruction,
    PairJudge,
    Refinement,
    Refiner,
    TaskClassifier,
    TaskItem,
    TaskPrediction,
    Teacher,
    Usage,
)
from lit_curriculum.types import make_generator
from lit_curriculum.utils.options import check_range

VERSION = "procedural/1"
_ATTEMPTS = 200
_KEYS = {"open": "brackets", "label": "noise", "say": "echo", "home": "lookup"}
_STYLES = ("shout", "ask", "quote")


def ability_of(instruction: str) -> Ability:
    """The ability that an instruction belongs to.

    Raises:
        ValueError: it was not made by a generated ability.
    """
    words = instruction.split(" ")
    verb = words[1] if words[0].endswith(":") and len(words) > 1 else words[0]
    key = "style" if verb in _STYLES else _KEYS.get(verb, verb)
    if len(words) < 2 or key not in {a.key for a in ABILITIES}:
        raise ValueError(
            f"the procedural teacher knows the generated abilities alone, and {instruction[:60]!r} is none of them; "
            f"use a chat client for other data."
        )
    return ability(key)


def level_of(instruction: str) -> int:
    """The true difficulty of an instruction, read from its text: the lowest level that can make it."""
    key, operand = ability_of(instruction).key, last_word(instruction)
    if key == "parity":
        return max(1, operand.count("x"))
    if key == "add":
        a, b = (int(n) for n in operand.split("+"))
        if b > 9:
            return 5 if b < 100 else 6
        return 4 if a % 10 + b > 9 else 1 if b == 1 else 2 if b < 4 else 3
    if key == "brackets":
        return 1 + sum(operand.count(closer) for closer in ")]}")
    if key == "lookup":
        return fact_level(operand)
    return len(operand) - 1


class ProceduralTeacher(Teacher):
    """Answers by rule; where there is no right answer (``noise``), with the first label that is allowed."""

    def answer(self, items: Sequence[TaskItem]) -> list[Answer]:
        return [
            Answer(_right(item.instruction) or NOISE_LABELS[0], complete=True, usage=Usage(calls=1)) for item in items
        ]


class ProceduralExpander(Expander):
    """Write instructions of the seed's ability and level, as TAPIR asks.

    It writes none that validation may hold, none that is known, and none twice; where a level has run out of new
    ones, fewer come back.

    Args:
        max_level: Highest level that is written.

    Raises:
        ValueError: the level is out of range.
    """

    def __init__(self, max_level: int = MAX_LEVEL) -> None:
        check_range(self, f"[1, {MAX_LEVEL}]", max_level=max_level)
        self.max_level = max_level

    def expand(self, seeds: Sequence[TaskItem], num: int, known: Sequence[str], seed: int = 0) -> Expansion:
        rng = make_generator(seed, 0, "procedural-expander")
        seen = {*known, *(s.question for s in seeds)}
        written: list[NewInstruction] = []
        spent: set[int] = set()
        turn = 0
        while seeds and len(written) < num and len(spent) < len(seeds):
            place = turn % len(seeds)
            turn += 1
            if place in spent:
                continue
            parent = seeds[place]
            task = ability_of(parent.instruction)
            level = min(level_of(parent.instruction), self.max_level)
            for _ in range(_ATTEMPTS):
                instruction, _response = task.make(level, rng)
                # A parity item of a level may have fewer x than the level allows; it is written at its own level.
                if instruction not in seen and not is_held_out(instruction) and level_of(instruction) >= level:
                    break
            else:
                spent.add(place)
                continue
            seen.add(instruction)
            written.append(
                NewInstruction(
                    parent_id=parent.id,
                    instruction=instruction,
                    input="",
                    task=parent.task or task.key,
                    prompt_version=VERSION,
                    model="procedural",
                    usage=Usage(calls=1),
                )
            )
        return Expansion(written)


class ProceduralJudge(PairJudge):
    """Scores by checking: 10 for the right answer, else 1 to 9 by how much of it is there.

    A planted wrong reference gets what it deserves. Where there is no right answer (``noise``) every answer of the
    asked form gets 10, so such an instruction never looks hard.
    """

    @property
    def version(self) -> str:
        return VERSION

    def judge(self, items: Sequence[JudgeItem]) -> list[Judgement]:
        return [self._judge(item) for item in items]

    def _judge(self, item: JudgeItem) -> Judgement:
        teacher, student = (_score(item.instruction, answer) for answer in (item.reference, item.candidate))
        return Judgement(
            score_teacher=teacher,
            score_student=student,
            valid=True,
            raw=(f"right: {_right(item.instruction)}",),
            usage=Usage(calls=1),
        )


class ProceduralRefiner(Refiner):
    """Replaces a wrong answer by the right one; leaves right answers, and ``noise``, as they are."""

    @property
    def version(self) -> str:
        return VERSION

    def refine(self, items: Sequence[TaskItem]) -> list[Refinement]:
        answers = [_right(item.instruction) or item.output for item in items]
        return [Refinement(a, a != i.output, Usage(calls=1)) for a, i in zip(answers, items, strict=True)]


class ProceduralClassifier(TaskClassifier):
    """Reads the ability off the instruction; always right."""

    def predict(self, texts: Sequence[str]) -> TaskPrediction:
        return TaskPrediction([ability_of(text).key for text in texts], [1.0] * len(texts))


def _right(instruction: str) -> str | None:
    return ability_of(instruction).answer(instruction)


def _score(instruction: str, answer: str) -> float:
    right = _right(instruction)
    if right is None:
        return 10.0 if answer in NOISE_LABELS else 1.0
    if answer == right:
        return 10.0
    return 1.0 + round(8 * SequenceMatcher(None, right, answer, autojunk=False).ratio())
