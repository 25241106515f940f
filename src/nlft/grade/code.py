"""The grader `code`: does the Python function in a response pass the row's tests?

The code runs in a process of its own, with limits on time, memory and files, an empty environment and a temporary folder.
That keeps accidents in bounds. It is no sandbox: the process may read your files and use the network as you may, so it
runs only where you allow it (`--allow-code`).
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from nlft.errors import ConfigError, DataError
from nlft.records import Attempt, Verdict

SECONDS = 10.0
LENGTH, ENDS = 20_000, 200  # characters of code without a fence that are read, and last lines that are tried without
SHOWN = 200
ALLOWED = "NLFT_ALLOW_CODE"
FENCE = re.compile(r"```[^\S\n]*(?:python|py|Python)?[^\S\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
BEGINS = re.compile(r"^(?:def|class|import|from|@|async def)\b", re.MULTILINE)
RUNNER = Path(__file__).with_name("code_runner.py")


def allow_code(value: bool = True) -> bool:
    """Allow this process, and those it starts, to run code that a model or a recipe brings; give back the value."""
    if value:
        os.environ[ALLOWED] = "1"
    return value


def code_allowed() -> bool:
    """Whether `allow_code` was called here or in the process that started this one."""
    return os.environ.get(ALLOWED) == "1"


def needs_permission(grader: str | None) -> bool:
    """Whether the grader runs code: a model's (`code`), or a file's (`code:FILE`)."""
    return grader is not None and grader.partition(":")[0] in ("code", "code-strict")


def grade_code(record: Attempt, *, strict: bool = False) -> Verdict:
    """Run the response's code against the tests of the column `tests`, or else the assertions of the reference.

    The score is the share of tests that pass; all must. The code is the last fenced block that defines something, else
    the whole response, else what follows its first `def` as far as it can be read. `strict`: the whole response.

    Raises:
        ConfigError: if running code is not allowed.
        DataError: for a row without tests.
    """
    if not code_allowed():
        raise ConfigError(
            "the grader code runs code that a model wrote",
            remedy="add --allow-code, if you accept that: its limits on time and memory are no sandbox",
        )
    tests = _tests(record)
    code = (record.response if _parses(record.response) else None) if strict else find_code(record.response)
    if code is None:
        reason = "the response is not code alone" if strict else "no Python code in the response"
        return Verdict(correct=False, score=0.0, reason=reason if record.response.strip() else "the response is empty")
    results = _run(code, tests)
    failed = [said for passed, said in results if not passed]
    passed = len(tests) - len(failed)
    reason = f"passes all {len(tests)} tests" if not failed else f"{failed[0]} ({passed} of {len(tests)} tests pass)"
    return Verdict(
        correct=not failed,
        value=f"{passed} of {len(tests)} tests",
        extracted=code.strip()[:SHOWN],
        score=passed / len(tests),
        reason=reason,
    )


def find_code(response: str) -> str | None:
    """The Python code in a response; None where there is none.

    >>> find_code("Sure:\\n```python\\ndef f(x):\\n    return x\\n```\\nIt returns x.")
    'def f(x):\\n    return x\\n'
    """
    for block in reversed(FENCE.findall(response)):
        if _parses(block):
            return str(block)
    if _parses(response):
        return response
    begin = BEGINS.search(response)
    lines = response[begin.start() :][:LENGTH].splitlines(keepends=True) if begin else []
    ends = range(len(lines), max(0, len(lines) - ENDS), -1)
    return next((code for end in ends if _parses(code := "".join(lines[:end]))), None)


def _parses(code: str) -> bool:
    """Whether this is Python that defines something."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign) for node in tree.body)


def _tests(record: Attempt) -> tuple[str, ...]:
    given = (record.model_extra or {}).get("tests")
    if isinstance(given, str):
        given = _assertions(given)
    elif given is None:
        given = _assertions(record.reference)
    if not isinstance(given, list) or not given or not all(isinstance(test, str) and test.strip() for test in given):
        raise DataError(
            "the row has no tests",
            remedy='give it a column tests, such as ["assert f(2) == 4"], or assertions as reference',
        )
    return tuple(given)


def _assertions(text: str) -> list[str]:
    try:
        return [ast.unparse(node) for node in ast.parse(text).body if isinstance(node, ast.Assert)]
    except (SyntaxError, ValueError, RecursionError):
        return []


class Result(NamedTuple):
    """Whether a test passed, and else what went wrong."""

    passed: bool
    said: str


@lru_cache(maxsize=1024)
def _run(code: str, tests: tuple[str, ...]) -> tuple[Result, ...]:
    """What the runner says of each test; of those it did not come to, why."""
    request = json.dumps({"code": code, "tests": tests, "seconds": SECONDS})
    late, out = False, ""
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-I", "-S", str(RUNNER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        try:
            out, _ = process.communicate(request, timeout=SECONDS + 2)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            with contextlib.suppress(ProcessLookupError):  # and whatever it has started
                os.killpg(process.pid, signal.SIGKILL)
    results = [Result(*row) for line in out.splitlines() if (row := _result(line)) is not None][: len(tests)]
    end = (
        f"the code does not end within {SECONDS:g} s" if late or process.returncode < 0 else "the code ends the process"
    )
    return (*results, *(Result(False, end) for _ in tests[len(results) :]))


def _result(line: str) -> tuple[bool, str] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return (
        (row[0], row[1][: 2 * SHOWN]) if isinstance(row, list) and len(row) == 2 and isinstance(row[1], str) else None
    )
