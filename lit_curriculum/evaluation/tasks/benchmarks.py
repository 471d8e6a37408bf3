"""One reader a benchmark: a record of its published layout to an item."""

from __future__ import annotations

import string
from typing import Any

from lit_curriculum.evaluation.items import EvalItem, choice_chance
from lit_curriculum.evaluation.tasks.read import need, others
from lit_curriculum.types import Message

_FINAL = "\nPut the final answer on the last line, after 'Answer:'."
_BOXED = "\nPut the final answer in \\boxed{}."


def ask(text: str) -> tuple[Message, ...]:
    """A conversation of one question."""
    return (Message(role="user", content=text),)


def gsm8k(record: dict[str, Any], where: str) -> EvalItem:
    """GSM8K (Cobbe et al. 2021): the last number of the solution, exactly."""
    answer = str(need(record, "answer", where))
    return EvalItem(
        id=str(record.get("id", where)),
        task="gsm8k",
        kind="exact",
        messages=ask(need(record, "question", where) + _FINAL),
        gold=str(record.get("final", answer.rsplit("####", 1)[-1].strip())),
        parser="number",
        source=where,
        meta=others(record, "id", "question", "final"),
    )


def svamp(record: dict[str, Any], where: str) -> EvalItem:
    """SVAMP (Patel et al. 2021): a number."""
    body = f"{str(need(record, 'body', where)).rstrip('. ')}. {need(record, 'question', where)}"
    gold = f"{float(need(record, 'answer', where)):g}"
    return EvalItem(
        id=str(record.get("id", where)), task="svamp", kind="exact", messages=ask(body + _FINAL), gold=gold,
        parser="number", source=where, meta=others(record, "id", "body", "question", "answer"),
    )  # fmt: skip


def math(record: dict[str, Any], where: str) -> EvalItem:
    """MATH (Hendrycks et al. 2021): the boxed answer, up to the normaliser's equivalence."""
    return EvalItem(
        id=str(record.get("id", where)), task="math", kind="exact",
        messages=ask(need(record, "problem", where) + _BOXED),
        gold=str(need(record, "answer", where)), parser="math", source=where,
        meta=others(record, "id", "problem", "answer"),
    )  # fmt: skip


def bbh(record: dict[str, Any], where: str) -> EvalItem:
    """BIG-Bench Hard (Suzgun et al. 2022): what follows ``the answer is``, exactly.

    Chance is one over the number of options where options are printed, and 0 where it is not known.
    """
    task, text = str(need(record, "task", where)), str(need(record, "input", where))
    target = str(need(record, "target", where))
    options = sum(f"({letter})" in text for letter in string.ascii_uppercase) if target.startswith("(") else 0
    binary = target in ("True", "False", "Yes", "No", "yes", "no", "valid", "invalid")
    return EvalItem(
        id=str(record.get("id", where)), task=f"bbh/{task}", kind="exact",
        messages=ask(f"{text}\nEnd with 'So the answer is' and the answer."), gold=target, parser="answer_is",
        chance=choice_chance(options) if options > 1 else 0.5 if binary else 0.0, source=where,
        meta=others(record, "id", "task", "input", "target"),
    )  # fmt: skip


def mmlu(record: dict[str, Any], where: str) -> EvalItem | None:
    """MMLU (Hendrycks et al. 2021): the likeliest letter behind the question; rows of dev and val are left out."""
    if record.get("split", "test") != "test":
        return None
    options = [str(option) for option in need(record, "choices", where)]
    letters = string.ascii_uppercase[: len(options)]
    subject = str(need(record, "subject", where))
    body = "\n".join(f"{letter}. {option}" for letter, option in zip(letters, options, strict=True))
    head = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"
    return EvalItem(
        id=str(record.get("id", where)), task=f"mmlu/{subject}", kind="choice",
        prompt=f"{head}{str(need(record, 'question', where)).strip()}\n{body}\nAnswer:",
        choices=tuple(f" {letter}" for letter in letters), gold_index=int(need(record, "answer", where)),
        chance=choice_chance(len(options)), source=where, meta={"options": options},
    )  # fmt: skip


def multiple_choice(record: dict[str, Any], where: str) -> EvalItem:
    """Query, choices and place of the right one (ARC, PIQA, ...), or contexts and one continuation (Winogrande)."""
    task, gold = str(record.get("task", "choice")), int(need(record, "gold", where))
    name = str(record.get("id", where))
    contexts = record.get("context_options")
    if contexts:
        ending = " " + str(need(record, "continuation", where)).strip()
        return EvalItem(
            id=name, task=task, kind="choice", choices=(ending,) * len(contexts), gold_index=gold,
            choice_prompts=tuple(str(c) for c in contexts), chance=choice_chance(len(contexts)), source=where,
        )  # fmt: skip
    query, choices = (
        str(need(record, "query", where)).rstrip(),
        [str(c).strip() for c in need(record, "choices", where)],
    )
    # What is asked and not completed gets a cue, as usual for ARC and its like.
    cue = "\nAnswer:" if query.startswith("Question:") and not query.endswith("Answer:") else ""
    return EvalItem(
        id=name, task=task, kind="choice", prompt=query + cue, choices=tuple(f" {c}" for c in choices), gold_index=gold,
        chance=choice_chance(len(choices)), source=where,
    )  # fmt: skip


def lambada(record: dict[str, Any], where: str) -> EvalItem:
    """LAMBADA (Paperno et al. 2016): the loss of the last word, and whether it is the likeliest throughout."""
    return EvalItem(
        id=str(record.get("id", where)), task="lambada", kind="nll", prompt=str(need(record, "context", where)),
        gold=" " + str(need(record, "continuation", where)), source=where,
    )  # fmt: skip


def ifeval(record: dict[str, Any], where: str) -> EvalItem:
    """IFEval (Zhou et al. 2023): a prompt with instructions that a program can check."""
    return EvalItem(
        id=str(record.get("key", where)), task="ifeval", kind="instructions",
        messages=ask(str(need(record, "prompt", where))), source=where,
        meta={"instruction_id_list": list(need(record, "instruction_id_list", where)),
              "kwargs": list(need(record, "kwargs", where))},
    )  # fmt: skip


def humaneval(record: dict[str, Any], where: str) -> EvalItem:
    """HumanEval (Chen et al. 2021): a function's beginning, completed and run with its tests."""
    return EvalItem(
        id=str(need(record, "task_id", where)), task="humaneval", kind="code",
        prompt=str(need(record, "prompt", where)),
        gold=str(record.get("canonical_solution", "")), source=where,
        meta={"tests": f"{need(record, 'test', where)}\ncheck({need(record, 'entry_point', where)})\n"},
    )  # fmt: skip


def mbpp(record: dict[str, Any], where: str) -> EvalItem | None:
    """MBPP (Austin et al. 2021): a function by description; tasks 11 to 510 are the test set."""
    if record.get("split", "test") != "test":
        return None
    tests = [str(test) for test in need(record, "test_list", where)]
    text = f"{need(record, 'text', where)}\nYour code should pass these tests:\n" + "\n".join(tests)
    setup = str(record.get("test_setup_code", ""))
    return EvalItem(
        id=str(need(record, "task_id", where)), task="mbpp", kind="code", messages=ask(text),
        gold=str(record.get("code", "")), source=where, meta={"tests": "\n".join([setup, *tests]) + "\n"},
    )  # fmt: skip


def open_prompt(record: dict[str, Any], where: str) -> EvalItem:
    """A prompt without a right answer; two models' answers are compared by a judge.

    MT-bench has a reference for each of its turns; the first turn is what is asked.
    """
    reference = record.get("reference") or ""
    if isinstance(reference, list):
        reference = reference[0]
    return EvalItem(
        id=str(record.get("id", where)), task="open", kind="open", messages=ask(str(need(record, "prompt", where))),
        gold=str(reference), source=where, meta=others(record, "id", "prompt", "reference"),
    )  # fmt: skip
