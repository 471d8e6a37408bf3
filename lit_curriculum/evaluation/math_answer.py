"""Final answers of mathematics: find one in a solution, and compare two.

The normaliser follows the conventions of the MATH benchmark: strings are brought to one spelling and then compared.
With the optional package math-verify two answers can be compared as expressions instead.

References:
    Hendrycks et al. 2021, "Measuring mathematical problem solving with the MATH dataset", arXiv 2103.03874.
"""

from __future__ import annotations

import re
from importlib.util import find_spec

_UNITS = re.compile(
    r"(?<=[\d}\s])\s*\\?(?:text|mbox|mathrm)?\{?\s*(?:square |cubic )?(?:degrees?|units?|inches|feet|cm|meters?|miles?|"
    r"dollars?|cents?|hours?|minutes?|seconds?|days?|years?|points?|度|元|个|厘米|平方厘米|米|千米|小时|分钟|秒)\s*\}?"
    r"(?:\^\{?[23]\}?)?\s*$"
)
_REMOVED = (
    "\\!",
    "\\,",
    "\\;",
    "\\ ",
    "\\left",
    "\\right",
    "^{\\circ}",
    "^\\circ",
    "°",
    "\\%",
    "%",
    "\\$",
    "$",
    "\\displaystyle",
)
_DOLLARS = re.compile(r"\$+([^$]+)\$+")
_SIMPLE = (
    re.compile(r"-?\\[dt]?frac\{[^{}]+\}\{[^{}]+\}"),
    re.compile(r"-?\d+\s*/\s*\d+"),
    re.compile(r"-?\d+(?:\s*[,，、]\s*-?\d+)+"),
    re.compile(r"-?\d*\\sqrt\{[^{}]+\}"),
    re.compile(r"[(\[（][^()\[\]（）]*[,，][^()\[\]（）]*[)\]）]"),
)
_LAST_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def extract_boxed(text: str) -> str | None:
    """The content of the last ``\\boxed{}`` (or ``\\fbox{}``), its braces balanced."""
    start = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    if start < 0:
        return None
    first = text.index("{", start) + 1
    depth = 1
    for position in range(first, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[first:position].strip()
    return None


def final_math_answer(text: str) -> str | None:
    """The final answer of a solution in Chinese or English, by the order of DoIT's rule.

    Of what follows the last word for "answer": the last box, the last expression between dollars, a fraction, list of
    integers, root or tuple, what follows the last sign of equality, the last number. Of an equation the right side.
    """
    tail = re.split(r"答案|[Aa]nswer", text)[-1]
    found = extract_boxed(tail)
    if found is None:
        dollars = _DOLLARS.findall(tail)
        found = dollars[-1] if dollars else None
    if found is None:
        found = next((m[-1] for p in _SIMPLE if (m := p.findall(tail))), None)
    if found is None and "=" in tail:
        found = tail.rsplit("=", 1)[1].splitlines()[0].strip().rstrip("。.，,")
    if not found:
        numbers = _LAST_NUMBER.findall(tail)
        found = numbers[-1] if numbers else None
    if not found:
        return None
    return found.rsplit("=", 1)[-1].strip() or None


def normalise_math(text: str) -> str:
    """One spelling of an answer: no units, signs of money, degrees or blanks; fractions and roots with braces."""
    out = text.strip().replace("−", "-").replace("，", ",").replace("（", "(").replace("）", ")").rstrip("。.")
    out = _UNITS.sub("", out)
    for piece in _REMOVED:
        out = out.replace(piece, "")
    out = re.sub(r"\\(?:text|mbox|mathrm)\{([^{}]*)\}", r"\1", out)
    out = out.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\cdot", "*").replace("\\times", "*")
    out = re.sub(r"\s+", "", out)
    out = re.sub(r"\\sqrt(\w)", r"\\sqrt{\1}", out)
    out = re.sub(r"\\frac(\d)(\d)", r"\\frac{\1}{\2}", out)
    out = re.sub(r"\\frac(\d)\{", r"\\frac{\1}{", out)
    out = re.sub(r"(\\frac\{[^{}]*\})(\d)", r"\1{\2}", out)
    out = re.sub(r"\\frac\{-(\w+)\}\{", r"-\\frac{\1}{", out)
    out = re.sub(r"(\\frac\{[^{}]+\})\{-(\w+)\}", r"-\1{\2}", out).replace("--", "")
    out = re.sub(r"(?<![\w/}])(\d+)/(\d+)(?![\w/])", r"\\frac{\1}{\2}", out)
    out = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", out) if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", out) else out
    out = re.sub(r"(?<!\d)\.(\d)", r"0.\1", out)
    out = re.sub(r"^(-?\d+)\.0+$", r"\1", out)
    if out.count("=") == 1 and len(out.split("=")[0]) <= 2:
        out = out.split("=")[1]
    return "\\frac{1}{2}" if out == "0.5" else out


def equivalent(first: str | None, second: str | None) -> bool:
    """Whether two answers have the same normal spelling; integers with commas compare as sets.

    Two missing answers are not equal (in DoIT's released code they are).
    """
    if first is None or second is None:
        return False
    a, b = normalise_math(first), normalise_math(second)
    if a == b:
        return a != ""
    return "," in a and "," in b and _integers(a) is not None and _integers(a) == _integers(b)


def verified_equivalent(answer: str, gold: str) -> bool:
    """Whether two answers are the same expression, by the package math-verify (extra ``eval``).

    Raises:
        ValueError: the package is not installed.
    """
    if find_spec("math_verify") is None:
        raise ValueError("option math=verify needs the package math-verify; install lit-curriculum[eval].")
    from math_verify import parse, verify

    # Both sides between dollars, so that bare LaTeX is read as an expression; no time limit by signals in threads.
    sides = [parse(f"${text}$", parsing_timeout=None) for text in (gold, answer)]
    return bool(verify(sides[0], sides[1], timeout_seconds=None))


def _integers(text: str) -> frozenset[int] | None:
    parts = text.split(",")
    return frozenset(int(p) for p in parts) if all(re.fullmatch(r"-?\d+", p) for p in parts) else None
