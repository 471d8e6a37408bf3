"""From a generated answer to what is compared with the gold answer: one function a rule.

The rules of DoIT are those of its section 4.2 and released scorer, in Chinese and English alike; a parser returns
none where it finds no answer, and none is never right.

References:
    Song et al. 2023, "Dynamics of Instruction Tuning", arXiv 2310.19651, section 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation

from lit_curriculum.evaluation.math_answer import equivalent, extract_boxed, final_math_answer

_WIDE = str.maketrans({chr(0xFEE0 + code): chr(code) for code in range(33, 127) if chr(code).isalpha()})
_TRUE = re.compile(
    r"正确|(?<!不)对(?!错)|^\s*是的?[。！]?\s*$|√|✓|✔|\btrue\b|\bcorrect\b|\byes\b|^\s*T\s*$", re.IGNORECASE
)
_FALSE = re.compile(
    r"不正确|错误?|不对|^\s*(?:不是|否)[。！]?\s*$|×|✗|✘|\bfalse\b|\bincorrect\b|\bwrong\b|\bno\b|^\s*F\s*$",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"不正确|不对|对错|incorrect", re.IGNORECASE)
_CLOZE = re.compile(r"[\u4e00-\u9fff][^\s，。！？；：、,.!?;:“”\"'‘’（）()《》]*")
_NUMBER = re.compile(r"[-−]?\$?\d[\d,]*(?:\.\d+)?|[-−]?\$?\.\d+")
_ANSWER_IS = re.compile(r"(?:the answer is|answer:|答案(?:是|为)?[：:]?)\s*", re.IGNORECASE)


def normalise_letters(text: str) -> str:
    """Letters of full width as plain ones, without blanks around."""
    return text.strip().translate(_WIDE)


def whole(text: str) -> str | None:
    """The whole answer without blanks around."""
    return text.strip() or None


def single_choice(text: str) -> str | None:
    """The answer if it is exactly one character from A to D; any other text is not read at all.

    What then decides is the most likely letter, unless the text is one other character, which is wrong:
    :func:`reads_letters` distinguishes the two.
    """
    letter = normalise_letters(text)
    return letter if len(letter) == 1 and letter in "ABCD" else None


def reads_letters(text: str) -> bool:
    """Whether the letters' probabilities decide: the answer is empty or longer than one character."""
    return len(text.strip()) != 1


def judgement(text: str) -> str | None:
    """``T`` or ``F`` where only words and marks of one of the two occur; both or neither is no answer."""
    false = _FALSE.search(text) is not None
    true = _TRUE.search(_NEGATED.sub(" ", text)) is not None
    return None if true == false else "T" if true else "F"


def cloze(text: str) -> str | None:
    """The first run that starts with a Chinese character, up to a blank or a mark."""
    found = _CLOZE.search(text)
    return found[0] if found else None


def letter_set(text: str) -> str | None:
    """All letters from A to F in the last line that is not empty, sorted; order and repetition do not matter."""
    lines = [line for line in text.splitlines() if line.strip()]
    letters = sorted(set(re.findall("[A-F]", normalise_letters(lines[-1])))) if lines else []
    return "".join(letters) or None


def number(text: str) -> str | None:
    """The last number behind the last answer mark (``####``, ``A:``, ``Answer:``), or of the whole text."""
    tail = re.split(r"####|(?:^|\n)\s*(?:A|Answer|答案)\s*[:：]", text)[-1]
    found = _NUMBER.findall(tail) or _NUMBER.findall(text)
    return plain_number(found[-1]) if found else None


def plain_number(text: str) -> str | None:
    """A number without separators, currency signs and redundant zeros."""
    cleaned = text.replace(",", "").replace("$", "").replace("−", "-").strip().rstrip(".")
    try:
        value = Decimal(cleaned)
    except InvalidOperation:
        return None
    return format(value.normalize() + 0, "f") if value.is_finite() else None


def answer_is(text: str) -> str | None:
    """What follows the last ``the answer is``, to the end of its line, without the full stop."""
    tail = _ANSWER_IS.split(text)[-1].strip()
    line = tail.splitlines()[0].strip().rstrip(".。").strip() if tail else ""
    return line or None


def _same(parsed: str, gold: str) -> bool:
    return parsed == gold.strip()


def _same_number(parsed: str, gold: str) -> bool:
    return parsed == plain_number(gold)


def _same_letters(parsed: str, gold: str) -> bool:
    return set(parsed) == set(normalise_letters(gold))


PARSERS: Mapping[str, tuple[Callable[[str], str | None], Callable[[str, str], bool]]] = {
    "whole": (whole, _same),
    "choice": (single_choice, _same),
    "true_false": (judgement, _same),
    "cloze": (cloze, _same),
    "letter_set": (letter_set, _same_letters),
    "number": (number, _same_number),
    "doit_math": (final_math_answer, equivalent),
    "math": (extract_boxed, equivalent),
    "answer_is": (answer_is, _same),
}
"""Parser id -> how an answer is read, and when what was read equals the gold answer."""


def is_right(parser: str, text: str, gold: str) -> bool:
    """Whether a generated answer is right under a rule.

    Raises:
        ValueError: there is no such parser.
    """
    if parser not in PARSERS:
        raise ValueError(f"there is no parser {parser!r}; known are {', '.join(PARSERS)}.")
    read, same = PARSERS[parser]
    parsed = read(text)
    return parsed is not None and same(parsed, gold)
