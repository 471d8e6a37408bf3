"""Whether items can be judged at all, to be known before anything is trained or answered."""

from __future__ import annotations

from collections.abc import Sequence

from lit_curriculum.evaluation.instructions import check_instructions
from lit_curriculum.evaluation.items import EvalItem
from lit_curriculum.evaluation.parsers import PARSERS


def check_items(items: Sequence[EvalItem], run_code: bool = False, has_judge: bool = False) -> None:
    """Refuse what could only fail after the model has answered.

    Args:
        items: What is to be judged.
        run_code: Whether generated programs may be run.
        has_judge: Whether somebody judges open answers.

    Raises:
        ValueError: an item needs code to be run, a judge, or a package or word data that are not installed, or names
            an unknown parser or instruction.
    """
    for item in items:
        where = f"{item.source or item.task}: item {item.id}"
        if item.kind == "code" and not run_code:
            raise ValueError(f"{where} is judged by running the generated program; set run_code to allow that.")
        if item.kind == "open" and not has_judge:
            raise ValueError(f"{where} has no right answer; give the evaluator a judge.")
        if item.kind == "exact" and item.parser not in PARSERS:
            raise ValueError(f"{where} names the parser {item.parser!r}; known are {', '.join(PARSERS)}.")
        if item.kind == "instructions":
            try:
                # Some checks load data only when they are made.
                check_instructions(
                    item.messages[-1].content, "An answer. Another.", item.meta["instruction_id_list"],
                    item.meta["kwargs"],
                )  # fmt: skip
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
