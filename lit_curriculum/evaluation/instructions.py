"""IFEval: instructions that a program can check, by the checks of the package if-verifiable (extra ``eval``).

References:
    Zhou et al. 2023, "Instruction-following evaluation for large language models", arXiv 2311.07911.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple


class Followed(NamedTuple):
    """Which instructions of a prompt an answer follows."""

    strict: tuple[bool, ...]
    """One for each instruction, on the answer as it is."""
    loose: tuple[bool, ...]
    """The same on variants of the answer, without its first or last line or marks of emphasis."""


def check_instructions(
    prompt: str, answer: str, instruction_ids: Sequence[str], options: Sequence[Mapping[str, Any]]
) -> Followed:
    """Check an answer; the same answer gets the same verdict, and the global random state stays as it was.

    Args:
        prompt: The question, which one instruction asks to repeat.
        answer: What the model said.
        instruction_ids: Ids of IFEval's instructions.
        options: Of each instruction, by name.

    Raises:
        ValueError: the package or its word data is not installed, or an instruction is unknown.
    """
    if find_spec("if_verifiable") is None:
        raise ValueError("IFEval needs the package if-verifiable; install lit-curriculum[eval].")
    from if_verifiable.common import evaluate_instructions
    from if_verifiable.ifeval.instructions_registry import INSTRUCTION_DICT

    unknown = [name for name in instruction_ids if name not in INSTRUCTION_DICT]
    if unknown:
        raise ValueError(f"IFEval has no instruction {unknown[0]!r}; correct the item's instruction_id_list.")
    given = [{name: value for name, value in option.items() if value is not None} for option in options]
    # Where a prompt counts a mark instead of a letter (two of IFEval's do), the package draws some letter.
    drawn = random.getstate()
    random.seed(0)
    try:
        results, _ = evaluate_instructions(
            response=answer, instruction_id_list=list(instruction_ids), kwargs_list=given, prompt=prompt,
            instruction_registry=INSTRUCTION_DICT,
        )  # fmt: skip
    except LookupError as error:
        raise ValueError(
            "IFEval counts sentences and words with data of nltk that are not installed; run "
            "python -m nltk.downloader punkt punkt_tab."
        ) from error
    finally:
        random.setstate(drawn)
    return Followed(tuple(bool(r.strict_pass) for r in results), tuple(bool(r.loose_pass) for r in results))
