"""Text into words: lower-cased, without punctuation, by a named convention.

Lexical measures move with the convention (whether ``5`` is a word, whether ``don't`` is one or two), so it has a
name in the formula of every metric that counts words.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from typing import Literal

from lit_curriculum.types import Example
from lit_curriculum.utils.options import Configured

WordConvention = Literal["words", "letters", "ascii_letters"]
CJKWords = Literal["character", "run"]
TextField = Literal["instruction", "response", "both"]

_APOSTROPHES = "\u2018\u2019\u02bc\uff07"
_ASCII_PATTERNS: dict[WordConvention, str] = {
    "words": r"[a-z0-9]+(?:'[a-z0-9]+)*",
    "letters": r"[a-z]+(?:'[a-z]+)*",
    "ascii_letters": r"[a-z]+(?:'[a-z]+)*",
}
# Han, kana, bopomofo, Thai, Lao, Burmese and Khmer: scripts written without blanks between words.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)


class WordSplitter(Configured):
    """Splits text into lower-cased words.

    All conventions bring the text to Unicode's composed form (NFC), lower-case it, and keep an apostrophe only
    between two letters (``don't`` is one word, ``'quoted'`` loses its marks). A hyphen separates.

    Args:
        convention: ``words`` keeps letters and digits of all scripts, with their combining marks, and
            reads a curly apostrophe as a straight one. ``letters`` is the same without the digits.
            ``ascii_letters`` knows a to z alone: every other character separates.
        cjk_words: What counts as a word in scripts written without blanks (Han, kana, Thai, Lao, Burmese, Khmer):
            each ``character`` with its combining marks, or the whole ``run`` up to the next blank or punctuation.

    Raises:
        ValueError: an option is none of the names above.
    """

    def __init__(self, convention: WordConvention = "words", cjk_words: CJKWords = "character") -> None:
        self.convention = convention
        self.cjk_words = cjk_words
        # Most text is ASCII, and its pattern is five times as fast as the one with all combining marks.
        self._find_ascii_words = re.compile(_ASCII_PATTERNS[convention]).findall
        self._ascii = convention == "ascii_letters"

    @property
    def name(self) -> str:
        """The convention's name in formulas; ``ascii_letters`` finds no word in an cjk_words script."""
        return self.convention if self._ascii else f"{self.convention}-{self.cjk_words}"

    def __call__(self, text: str) -> list[str]:
        """The words of ``text``, in order."""
        lowered = unicodedata.normalize("NFC", text).lower()
        if self._ascii or lowered.isascii():
            return self._find_ascii_words(lowered)
        for mark in _APOSTROPHES:
            lowered = lowered.replace(mark, "'")
        words = _word_pattern(self.convention).findall(lowered.replace("_", " "))
        if self.cjk_words == "run" or not has_cjk(lowered):
            return words
        return [part for word in words for part in split_unspaced(word)]


def has_cjk(text: str) -> bool:
    """Whether a character of a script that is written without blanks between words occurs."""
    return _unspaced_character().search(text) is not None


def split_unspaced(text: str) -> list[str]:
    """Each character of an cjk_words script with its combining marks, and the runs of other text between them."""
    return _split_unspaced().findall(text)


def field_text(example: Example, field: TextField) -> str:
    """The text of one example that a metric looks at; ``both`` joins instruction and response by a newline."""
    if field == "instruction":
        return example.instruction
    if field == "response":
        return example.response
    return f"{example.instruction}\n{example.response}"


@functools.cache
def _word_pattern(convention: WordConvention) -> re.Pattern[str]:
    # Python's \w knows no combining mark and no joiner, and would cut most Indic words at every vowel sign.
    marks = f"{_marks()}\u200c\u200d"
    piece = rf"\w[\w{marks}]*" if convention == "words" else rf"(?:[^\W\d][{marks}]*)+"
    return re.compile(f"{piece}(?:'{piece})*")


@functools.cache
def _unspaced_character() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}]")


@functools.cache
def _split_unspaced() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}][{_marks()}]*|[^{_UNSPACED}]+")


@functools.cache
def _marks() -> str:
    """All combining marks (categories Mn and Mc) as ranges of a character class."""
    ranges: list[str] = []
    start = previous = -2
    for code in range(0x300, sys.maxunicode + 1):
        if unicodedata.category(chr(code)) not in ("Mn", "Mc"):
            continue
        if code != previous + 1:
            ranges.append(f"{chr(start)}-{chr(previous)}" if start >= 0 else "")
            start = code
        previous = code
    return "".join(ranges) + f"{chr(start)}-{chr(previous)}"
