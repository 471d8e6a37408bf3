"""One display of progress for all that takes long: a bar where somebody watches, and a line now and then where not."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from tqdm.auto import tqdm

Advance = Callable[[int, int], None]
"""Called with (done, in all)."""
LOG_SECONDS = 30.0
"""Between two lines in a file."""
_LINE = (
    "{desc}: {percentage:.0f} %, {n_fmt} of {total_fmt}{unit}, {rate_fmt}{postfix}, {elapsed} gone, {remaining} left"
)


class Display:
    """Shows how far a piece of work has come, with its rate and the time left.

    In a terminal or a notebook it is a bar that vanishes when the work is done. Where output goes into a file or a
    pipe, it is a line every ``log_seconds``, and one at the end of work that took longer than that; nothing is ever
    written over.

    Args:
        title: What is done.
        unit: What is counted, with a blank before it where it is a word.
        log_seconds: Between two lines.
        stream: Where to write; standard error by default.
    """

    def __init__(self, title: str, unit: str, log_seconds: float = LOG_SECONDS, stream: TextIO | None = None) -> None:
        self.title, self.unit, self.log_seconds = title, unit, log_seconds
        self._stream = sys.stderr if stream is None else stream
        self._done = self._total = 0
        self._note = ""
        self._started = self._shown = time.monotonic()
        self._bar: tqdm[Any] | None = None
        if watched(self._stream):
            self._bar = tqdm(
                desc=title, unit=unit, unit_scale=True, leave=False, dynamic_ncols=True, mininterval=0.5, file=stream
            )

    def advance(self, done: int, total: int, note: str = "") -> None:
        """Say that ``done`` of ``total`` are done.

        Args:
            done: So far.
            total: In all; it may change.
            note: Shown beside them, such as the loss.
        """
        self._done, self._total, self._note = done, total, note
        if self._bar is not None:
            self._bar.total = total
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._bar.n)
        elif time.monotonic() - self._shown >= self.log_seconds and done < total:
            self._line()

    def close(self) -> None:
        """The work is over, or was given up."""
        if self._bar is not None:
            self._bar.close()
        elif self._total and (self._shown > self._started or time.monotonic() - self._started >= self.log_seconds):
            self._line()

    def _line(self) -> None:
        self._shown = time.monotonic()
        text = tqdm.format_meter(
            self._done, self._total, self._shown - self._started, prefix=self.title, unit=self.unit, unit_scale=True,
            bar_format=_LINE, postfix=self._note or None,
        )  # fmt: skip
        print(text, file=self._stream, flush=True)


@contextmanager
def display(title: str, unit: str) -> Iterator[Advance]:
    """A :class:`Display` for the length of a block."""
    shown = Display(title, unit)
    try:
        yield shown.advance
    finally:
        shown.close()


def watched(stream: TextIO) -> bool:
    """Whether somebody sees the stream as it is written: in a terminal, or in a notebook's cell."""
    return stream.isatty() or "ipykernel" in sys.modules
