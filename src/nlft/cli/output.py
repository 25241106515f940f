"""What a command prints, and how much: the options that every verb has, and the end of each."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from nlft.progress import Outcome, printable, speak

__all__ = ["TABLES", "as_told", "conclude", "every_verb"]

# The commands that print a table, a report or counts; `--json` prints it for a program.
TABLES = (
    "demo",
    "data check",
    "data merge",
    "answer",
    "grade",
    "judge",
    "revise",
    "score",
    "show",
    "train",
    "evaluate",
    "compare",
    "run",
    "choose",
    "experiment",
    "recipes",
    "env",
)

_told = {"json": False}


@contextmanager
def as_told() -> Iterator[None]:
    """One command line: what its options say about printing ends with it."""
    logger = logging.getLogger("nlft")
    level, handlers = logger.level, [*logger.handlers]
    _told["json"] = False
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def conclude(outcome: Outcome, show: Callable[[], None] | None = None) -> None:
    """Print how a step ended.

    Args:
        outcome: Its text, and the same as data, which `--json` prints.
        show: Prints it in place of the text, where that has colours.

    Raises:
        IncompleteError, LimitError: if something is missing from its output.
    """
    if _told["json"]:
        from pydantic_core import to_json

        data = outcome.data if outcome.data is not None else {"message": outcome.text}
        print(to_json(data, indent=2, inf_nan_mode="null").decode())
    elif show is not None:
        show()
    else:
        print(printable(outcome.text))
    if outcome.shortfall is not None:
        sys.stdout.flush()
        raise outcome.shortfall


def _json(value: bool) -> None:
    _told["json"] = _told["json"] or value


def _quiet(value: bool) -> None:
    if value:
        speak(logging.ERROR)


def _verbose(value: bool) -> None:
    if value:
        speak(logging.DEBUG)


_app = typer.Typer()


@_app.command()
def _options(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON.", callback=_json, expose_value=False, show_default=False)
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            help="Print the result and errors, nothing else.",
            callback=_quiet,
            expose_value=False,
            show_default=False,
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Print the libraries' messages, too.",
            callback=_verbose,
            expose_value=False,
            show_default=False,
        ),
    ] = False,
) -> None:
    """Only a place for these options, from which other commands take them."""


def every_verb(command: str) -> list[Any]:
    """The options about printing that a command gets besides its own, which it never sees."""
    wanted = {"quiet", "verbose", *(("as_json",) if command in TABLES else ())}
    return [option for option in typer.main.get_command(_app).params if option.name in wanted]
