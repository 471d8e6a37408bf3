"""Evaluation files in the layout of the DoIT data set: conversations in Chinese, exact or ranked by perplexity.

References:
    Song et al. 2023, "Dynamics of Instruction Tuning", arXiv 2310.19651, section 4.2.
"""

from __future__ import annotations

import re
from typing import Any

from lit_curriculum.evaluation.items import EvalItem, choice_chance, set_chance
from lit_curriculum.evaluation.parsers import judgement, normalise_letters
from lit_curriculum.evaluation.tasks.read import need, others
from lit_curriculum.types import Message

_OPTION_D = re.compile(r"(?:^|[\s,，;；(（])[DＤ]\s*[.．、:：)）]", re.MULTILINE)


def doit(record: dict[str, Any], where: str) -> EvalItem:
    """A row of a validation or test file.

    Args:
        record: With ``messages``, ``type`` and ``question_format`` (0 exact, 1 ranked with ``choices``, gold first).
        where: File and line.

    Raises:
        ValueError: a field is missing, a role is unknown, or the label fits no rule of its ability.
    """
    turns = tuple(_message(turn, where) for turn in need(record, "messages", where))
    task, number = str(need(record, "type", where)), record.get("idx", where)
    name = f"{task}-{number}"
    rest = others(record, "messages", "type", "choices", "idx")
    if int(need(record, "question_format", where)) == 1:
        choices = tuple(str(c) for c in need(record, "choices", where))
        # The last turn is the gold answer where the assistant has it.
        context = turns[:-1] if turns and turns[-1].role == "assistant" else turns
        return EvalItem(
            id=name, task=task, kind="ranked", messages=context, choices=choices, gold_index=0, gold=choices[0],
            chance=choice_chance(len(choices)), source=where, meta=rest,
        )  # fmt: skip
    if len(turns) < 2 or turns[-1].role != "assistant":
        raise ValueError(f"{where}: an exact-match row needs a question and, last, the assistant's label.")
    label = turns[-1].content.strip()
    parser, gold, chance = _rule(task, label, turns, record, where)
    if parser == "choice":
        rest["logit_choices"] = ["A", "B", "C", "D"]
    return EvalItem(
        id=name, task=task, kind="exact", messages=turns[:-1], gold=gold, parser=parser, chance=chance, source=where,
        meta=rest,
    )  # fmt: skip


def _rule(
    task: str, label: str, turns: tuple[Message, ...], record: dict[str, Any], where: str
) -> tuple[str, str, float]:
    """Parser, gold answer and chance of an exact-match row, by ability."""
    letter = normalise_letters(label)
    single = len(letter) == 1 and letter in "ABCD"
    if task == "math":
        return "doit_math", str(need(record, "answer", where)), 0.0
    if task == "ethics":
        gold = "".join(sorted(set(re.findall("[A-F]", letter))))
        if not 1 <= len(gold) <= 4:
            raise ValueError(f"{where}: the label {label!r} of ethics names {len(gold)} options; expected 1 to 4.")
        return "letter_set", gold, set_chance(len(gold))
    if task == "understanding" and single:
        shown = any(_OPTION_D.search(turn.content) for turn in turns[:-1])
        return "choice", letter, 0.25 if shown else choice_chance(3)
    if single:
        return "choice", letter, 0.25
    if task == "history" and (truth := judgement(label)) is not None:
        return "true_false", truth, 0.5
    if task == "chinese":
        return "cloze", label, 0.0
    raise ValueError(f"{where}: the label {label!r} of {task} is no letter from A to D and fits no rule of DoIT.")


def _message(turn: Any, where: str) -> Message:
    role = turn.get("role") if isinstance(turn, dict) else None
    if role not in ("system", "user", "assistant") or not isinstance(turn.get("content"), str):
        raise ValueError(f"{where}: a turn of messages needs a role (user, assistant, system) and a content.")
    return Message(role=role, content=turn["content"])
