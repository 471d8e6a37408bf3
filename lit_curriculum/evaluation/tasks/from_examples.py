"""Validation examples as evaluation items: the last answer is the gold answer, what precedes it is the prompt."""

from __future__ import annotations

from lit_curriculum.evaluation.items import EvalItem
from lit_curriculum.types import Example


def example_item(example: Example, task: str, parser: str = "whole") -> EvalItem:
    """An item that asks for an example's last response.

    Where ``meta`` holds ``choices``, the gold candidate is ranked against the others: the one at ``gold_index`` in
    ``meta``, else the one that equals the response. Otherwise the answer is generated, and read by the parser that
    ``meta`` names as ``parser``, else by ``parser``. The chance level is ``chance`` in ``meta``; 1 over the
    number of candidates, or 0, where it is not given.

    Args:
        example: Ends with an assistant's turn.
        task: What its score is grouped under.
        parser: Id of the parser where the example names none.

    Raises:
        ValueError: the example does not end with a response, or the response is none of the choices.
    """
    where = example.source or example.id
    if example.messages[-1].role != "assistant":
        raise ValueError(f"{where}: an example that is evaluated must end with the right answer; add that turn.")
    context, gold = example.messages[:-1], example.messages[-1].content
    choices = tuple(str(c) for c in example.meta.get("choices") or ())
    if choices:
        place = example.meta.get("gold_index")
        if place is None:
            if gold not in choices:
                raise ValueError(f"{where}: the response is none of the choices; add it, or give gold_index.")
            place = choices.index(gold)
        chance = float(example.meta.get("chance", 1 / len(choices)))
        return EvalItem(
            id=example.id, task=task, kind="ranked", messages=context, choices=choices, gold_index=int(place),
            gold=choices[int(place)], chance=chance, source=where,
        )  # fmt: skip
    return EvalItem(
        id=example.id, task=task, kind="exact", messages=context, gold=gold, source=where,
        parser=str(example.meta.get("parser", parser)), chance=float(example.meta.get("chance", 0.0)),
    )  # fmt: skip
