"""The worker process behind the graders `math` and `code:FILE`: `python -m nlft.grade.worker NAME`.

It reads one record a line, as JSON, and answers each with one: a verdict, or under
"fault" what went wrong and where. It ends when its input ends.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import runpy
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nlft.grade.numeric import MARKER, boxed
from nlft.records import Verdict

TAIL = 4_000  # characters from the end of a response that `math` looks at; math-verify is slower than linear
SHOWN = 200


class UnreadableError(Exception):
    """The reference, not the response, cannot be read."""


def main() -> None:
    """Answer requests until the input ends."""
    # A grader's prints must not mix with the answers: they go to stderr, and only we keep the real stdout.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(row: dict[str, Any]) -> None:
        answers.write(json.dumps(row) + "\n")
        answers.flush()

    name = sys.argv[1]
    try:
        judge = _math() if name == "math" else _code(Path(name.removeprefix("code:")))
    except BaseException as error:
        answer({"fault": _describe(error, name), "line": _line_of(error, name)})
        return
    answer({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(judge(request).model_dump())
        except UnreadableError as error:
            answer({"unreadable": str(error)})
        except Exception as error:
            answer({"fault": _describe(error, name), "line": _line_of(error, name)})


def _code(file: Path) -> Callable[[dict[str, Any]], Verdict]:
    function = runpy.run_path(str(file)).get("grade")
    if not callable(function):
        raise TypeError("the file defines no function grade(response, reference)")
    ask = _by_parameters(function)

    def judge(record: dict[str, Any]) -> Verdict:
        found = ask(record)
        if isinstance(found, bool):
            return Verdict(correct=found, reason=f"grade() returned {found}")
        if isinstance(found, Verdict):
            return found
        if isinstance(found, int | float):
            return Verdict(correct=found >= 1, score=float(found), reason=f"grade() returned {found:.3g}")
        if isinstance(found, dict):
            return Verdict.model_validate({"reason": "grade() gave no reason", **found})
        raise TypeError(
            f"grade() returned {type(found).__name__}; return a bool, a score from 0 to 1, a dict or a nlft.Verdict"
        )

    return judge


def _by_parameters(function: Callable[..., Any]) -> Callable[[dict[str, Any]], Any]:
    """Call the user's function with what it takes: the record if it has one parameter, else two or three texts."""
    names = list(inspect.signature(function).parameters)
    if len(names) == 1:
        return function
    third = list(inspect.signature(function).parameters.values())[2:3]
    if third and third[0].default is third[0].empty and third[0].kind is third[0].POSITIONAL_OR_KEYWORD:
        return lambda row: function(row["response"], row["reference"], row["question"])
    if "question" in names[2:]:
        return lambda row: function(row["response"], row["reference"], question=row["question"])
    return lambda row: function(row["response"], row["reference"])


def _math() -> Callable[[dict[str, Any]], Verdict]:
    logging.disable(logging.CRITICAL)  # each failed attempt at parsing is logged as an error
    from math_verify import parse, verify

    def read(text: str) -> list[list[Any]]:
        """The readings of a text's answer, likeliest first; the deadline is the parent's, so no alarms here."""
        readings = [parse(form, parsing_timeout=None) for form in _forms(text)]
        return [reading for reading in readings if reading]

    def judge(record: dict[str, Any]) -> Verdict:
        wanted, response = read(record["reference"]), record["response"]
        if not wanted:
            raise UnreadableError("no mathematical expression can be read from the reference")
        given = read(response[-TAIL:])
        if not given:
            return Verdict(correct=False, reason="no mathematical expression in the response")
        for reading in given:
            if any(verify(gold, reading, timeout_seconds=None) for gold in wanted):
                return _verdict(True, reading, "is mathematically equal to the reference")
        return _verdict(False, given[0], f"the reference says {str(wanted[0][-1])[:SHOWN]}")

    return judge


def _forms(text: str) -> list[str]:
    """What math-verify is shown: the boxed answer, else what follows the last marker, else all."""
    inside = boxed(text)
    if inside is not None:
        return [rf"\boxed{{{inside}}}"]
    _, mark, rest = text.rpartition(MARKER)
    line = (rest if mark else text).strip()
    if mark or "\n" not in line:
        line = line.partition("\n")[0].replace(r"\$", "").strip("$ .")
        return [f"${line}$", line]
    return [text]


def _verdict(correct: bool, reading: list[Any], reason: str) -> Verdict:
    value, text = str(reading[0])[:SHOWN], str(reading[-1])[:SHOWN]
    return Verdict(correct=correct, value=value, extracted=text, reason=reason)


def _describe(error: BaseException, name: str) -> str:
    if isinstance(error, ModuleNotFoundError) and name == "math":
        return "the grader math needs the package math-verify, which is not installed"
    return f"{type(error).__name__}: {error}"


def _line_of(error: BaseException, name: str) -> int | None:
    """The line of the user's file that raised, if any."""
    file = name.removeprefix("code:")
    if isinstance(error, SyntaxError):
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return lines[-1] if lines else None


if __name__ == "__main__":
    main()
