"""The process behind the grader `code`: reads code and tests as JSON, runs them, and writes one line for each test.

It runs on its own, without the package: `python -I -S code_runner.py`. The limits are set before anything is run; what the
code prints goes nowhere.
"""

import ast
import json
import os
import resource
import sys
from typing import Any

MEMORY = 1 << 30
FILE = 1 << 20
SHOWN = 100


def main() -> None:
    """Run one request."""
    request = json.loads(sys.stdin.read())
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    seconds = int(request["seconds"])
    limits = {"CPU": seconds, "AS": MEMORY, "FSIZE": FILE, "NOFILE": 32, "CORE": 0, "NPROC": 0}
    for name, limit in limits.items():
        hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
        value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    space: dict[str, Any] = {"__name__": "response"}
    broken = None
    try:
        exec(compile(request["code"], "response", "exec"), space)  # noqa: S102 - what this process is for
    except BaseException as error:
        broken = f"the code raises {told(error)}"
    for test in request["tests"]:
        passed, said = (False, broken) if broken else check(test, space)
        answers.write(json.dumps([passed, said]) + "\n")
        answers.flush()


def check(test: str, space: dict[str, Any]) -> tuple[bool, str]:
    """Whether the test passes, and else what it finds; of `assert A == B`, both values."""
    try:
        body = ast.parse(test).body
        last = body[-1]
        match last:
            case ast.Assert(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right])):
                run(ast.Module(body[:-1], []), space)
                return compare(left, right, space)
        run(ast.Module(body, []), space)
    except BaseException as error:
        if isinstance(error, AssertionError) and not str(error):
            return False, f"{test} fails"
        return False, f"{test} raises {told(error)}"
    return True, ""


def compare(left: ast.expr, right: ast.expr, space: dict[str, Any]) -> tuple[bool, str]:
    """Whether two expressions are equal, and else their values."""
    called = ast.unparse(left)
    try:
        given = eval(compile(ast.Expression(left), "test", "eval"), space)  # noqa: S307 - as above
    except BaseException as error:
        return False, f"{called} raises {told(error)}"
    wanted = eval(compile(ast.Expression(right), "test", "eval"), space)  # noqa: S307 - as above
    if given == wanted:
        return True, ""
    return False, f"{called} gives {shown(given)}, should be {shown(wanted)}"


def run(module: ast.Module, space: dict[str, Any]) -> None:
    """Run statements."""
    exec(compile(module, "test", "exec"), space)  # noqa: S102 - as above


def shown(value: Any) -> str:
    """A value in few characters."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def told(error: BaseException) -> str:
    """An exception in few characters."""
    return f"{type(error).__name__}: {error}"[:SHOWN] if str(error) else type(error).__name__


if __name__ == "__main__":
    main()
