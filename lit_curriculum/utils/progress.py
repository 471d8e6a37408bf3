"""Progress of long work: a bar in a terminal or notebook, and a line now and then in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar, TextIO
from weakref import ReferenceType, ref

from lightning_utilities.core.rank_zero import rank_zero_only
from tqdm.auto import tqdm

Advance = Callable[[int, int], None]
"""Called with (done, total)."""
Show = Callable[[str, str], AbstractContextManager[Advance | None]]
"""Opens a display of (title, unit) for the length of a block; it yields none where nothing is shown."""
LOG_SECONDS = 30.0
"""Seconds between two lines in a file."""
_MANY = 10_000  # counts from here on are written as 12.3k
_LINE = (
    "{desc}: {percentage:.0f} %, {n_fmt} of {total_fmt}{unit}, {rate_fmt}{postfix}, {elapsed} gone, {remaining} left"
)


class Display:
    """Progress of a piece of work, with its rate and the time left.

    In a terminal or a notebook it is a bar that disappears when the work is done. In a file or a pipe it is a line
    every ``log_seconds``, and one at the end of work that took longer than that. Only rank zero shows anything, and of
    nested displays only the outer one.

    Args:
        title: Name of the work.
        unit: What is counted, with a blank before it where it is a word.
        log_seconds: Seconds between two lines.
        stream: Where to write; standard error by default.
    """

    _outer: ClassVar[ReferenceType[Display] | None] = None

    def __init__(self, title: str, unit: str, log_seconds: float = LOG_SECONDS, stream: TextIO | None = None) -> None:
        self.title, self.unit, self.log_seconds = title, unit, log_seconds
        self._stream = sys.stderr if stream is None else stream
        self._done = self._total = 0
        self._note = ""
        self._started = self._shown = time.monotonic()
        self._bar: tqdm[Any] | None = None
        outer = None if Display._outer is None else Display._outer()
        self._silent = outer is not None or getattr(rank_zero_only, "rank", 0) != 0
        if outer is None:
            Display._outer = ref(self)
        if is_interactive(self._stream) and not self._silent:
            self._bar = tqdm(desc=title, unit=unit, leave=False, dynamic_ncols=True, mininterval=0.5, file=stream)

    def advance(self, done: int, total: int, note: str = "") -> None:
        """Show that ``done`` of ``total`` are done.

        Args:
            done: Count so far.
            total: Count of the whole work; it may change.
            note: Text beside them, such as the loss.
        """
        self._done, self._total, self._note = done, total, note
        if self._bar is not None:
            self._bar.total, self._bar.unit_scale = total, total >= _MANY
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._bar.n)
        elif time.monotonic() - self._shown >= self.log_seconds and done < total:
            self._line()

    def close(self) -> None:
        """End the display, whether or not the work is done."""
        if Display._outer is not None and Display._outer() is self:
            Display._outer = None
        if self._bar is not None:
            self._bar.close()
        elif self._total and (self._shown > self._started or time.monotonic() - self._started >= self.log_seconds):
            self._line()

    def _line(self) -> None:
        self._shown = time.monotonic()
        if self._silent:
            return
        text = tqdm.format_meter(
            self._done, self._total, self._shown - self._started, prefix=self.title, unit=self.unit,
            unit_scale=self._total >= _MANY, bar_format=_LINE, postfix=self._note or None,
        )  # fmt: skip
        # Slow work is shown in seconds per unit, where the blank before the unit is one too many.
        print(" ".join(text.replace("s/ ", "s/").split()), file=self._stream, flush=True)


@contextmanager
def display(title: str, unit: str) -> Iterator[Advance]:
    """Open a :class:`Display` for the length of a block."""
    shown = Display(title, unit)
    try:
        yield shown.advance
    finally:
        shown.close()


def no_display(title: str, unit: str) -> AbstractContextManager[Advance | None]:
    """Show nothing; a :data:`Show`."""
    del title, unit
    return nullcontext()


def is_interactive(stream: TextIO) -> bool:
    """Whether the stream is a terminal or the output of a notebook."""
    return stream.isatty() or "ipykernel" in sys.modules


@contextmanager
def disable_dataset_progress() -> Iterator[None]:
    """Hide the progress bars of ``datasets`` for the length of a block."""
    import datasets  # costs a second

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
