"""What a step reports: progress while it runs (always on stderr), and its outcome at the end.

How much is said is the level of the logger "nlft": `ERROR` is quiet, `DEBUG` is verbose.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from nlft.errors import NLFTError
from nlft.processes import leads

logger = logging.getLogger("nlft")


@dataclass(frozen=True)
class Outcome:
    """How a step ended: a few lines for its user, and what is missing from its output, if anything.

    `data` is the same for a program, as far as it is more than a sentence: what `--json` prints.
    `shortfall` is an `IncompleteError` (rows failed for good) or a `LimitError` (a limit was reached); the output is
    written in either case.
    """

    text: str
    shortfall: NLFTError | None = None
    data: Any = None


def speak(level: int) -> None:
    """Say as much as the level tells: on stderr, debug messages too where it is `logging.DEBUG`."""
    logger.setLevel(level)
    if level == logging.DEBUG and not logger.handlers:
        logger.addHandler(logging.StreamHandler())


@contextmanager
def silent() -> Iterator[None]:
    """Say nothing but errors meanwhile, in processes that are started, too; all there is where the user wants that."""
    level = logger.level
    if level != logging.DEBUG:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def tell(text: str) -> None:
    """Print a line about the work on stderr, unless the user wants it quiet."""
    if logger.isEnabledFor(logging.WARNING):
        print(text, file=sys.stderr)


class Progress(Protocol):
    """What a long step reports to."""

    def advance(self, amount: int = 1) -> None:
        """Count `amount` more items as done."""
        ...

    def note(self, text: str) -> None:
        """Show a short text (a loss, a rate) next to the count."""
        ...


class _Lines:
    """Plain lines: the first, then at most one every `every` seconds, then the last."""

    def __init__(self, label: str, total: int, every: float = 10.0) -> None:
        self.label, self.total, self.every = label, total, every
        self.done, self.text = 0, ""
        self.start = self.last = time.monotonic()

    def advance(self, amount: int = 1) -> None:
        self.done += amount
        now = time.monotonic()
        if now - self.last >= self.every or self.done == self.total:
            self.last = now
            self.show(now)

    def note(self, text: str) -> None:
        self.text = text

    def show(self, now: float) -> None:
        spent = now - self.start
        left = spent / self.done * (self.total - self.done) if self.done else 0.0
        tail = f", {self.text}" if self.text else ""
        if leads():
            tell(f"{self.label}: {self.done}/{self.total}, {duration(spent)}, {duration(left)} left{tail}")


@contextmanager
def progress(label: str, total: int, *, each: bool = False) -> Iterator[Progress]:
    """Report on a step of `total` items, as `with progress("judging", len(rows)) as bar: ... bar.advance()`.

    Of several processes only the leading one shows anything.

    Args:
        label: What is done.
        total: The number of items.
        each: A plain line after every item, even on a terminal: for items that have bars of their own.
    """
    shown = sys.stderr.isatty() and leads() and logger.isEnabledFor(logging.WARNING)
    if each or not shown:
        yield _Lines(label, total, every=0.0 if each else 10.0)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress
    from rich.table import Column
    from rich.text import Text

    class Note(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(task.fields["text"], no_wrap=True, overflow="ellipsis")

    # One line, however narrow the terminal: the bar and the note give way, the numbers stay.
    columns = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TextColumn("eta"),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        Note(),
    ]
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, text="")

        class _Bar:
            def advance(self, amount: int = 1) -> None:
                bar.advance(task, amount)

            def note(self, text: str) -> None:
                bar.update(task, text=text)

        yield _Bar()


def duration(seconds: float) -> str:
    """Seconds in readable form.

    >>> duration(7.3), duration(192), duration(7265)
    ('7.3 s', '3 min 12 s', '2 h 01 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def printable(text: str) -> str:
    r"""Text with its control characters escaped, so that data cannot move the cursor or recolour a terminal.

    Line feeds and tabs stay; lone surrogates, which no terminal can show, are escaped too.

    >>> printable("a\x1b[31mb\n\x07")
    'a\\x1b[31mb\n\\x07'
    """
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)
