"""Graders by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from nlft.config import did_you_mean
from nlft.errors import ConfigError
from nlft.grade.numeric import flexible, number, strict
from nlft.grade.textual import choice, exact
from nlft.records import Verdict

__all__ = ["BOTH", "Grader", "get_grader", "grade_response", "grader_names"]

# A grader returns its verdict on a response, given the reference. It raises DataError when the reference,
# not the response, cannot be read.
Grader = Callable[[str, str], Verdict]

# These two are recorded whichever grader decides, so that results can be compared with published ones.
BOTH = ("gsm8k-strict", "gsm8k-flexible")

_IN_PROCESS: dict[str, Grader] = {
    "gsm8k-strict": strict,
    "gsm8k-flexible": flexible,
    "number": number,
    "choice": choice,
    "exact": exact,
}


def grader_names() -> list[str]:
    """Every name that `get_grader` takes; `code:FILE` stands for any file."""
    return [*_IN_PROCESS, "math", "code:FILE"]


@cache
def get_grader(name: str) -> Grader:
    """The grader of that name.

    - `gsm8k-strict`, `gsm8k-flexible`, `number`: see `nlft.grade.numeric`
    - `choice`, `exact`: see `nlft.grade.textual`
    - `math`: math-verify's symbolic comparison, in a worker process with a deadline
    - `code:FILE`: the function `grade(response, reference)` of a user's Python file, in a worker process

    Raises:
        ConfigError: for a name that does not exist, or a grader that cannot start.
    """
    if name in _IN_PROCESS:
        return _IN_PROCESS[name]
    if name == "math" or name.startswith("code:"):
        from nlft.grade.external import ExternalGrader

        return ExternalGrader(name)
    raise ConfigError(f'there is no grader "{name}"', remedy=did_you_mean(name, grader_names()))


def grade_response(response: str, reference: str, grader: str = "gsm8k-flexible") -> Verdict:
    """Grade one response with the named grader.

    >>> grade_response("He pays 3 * 6 = 18 dollars.", "#### 18").reason
    "equals the reference's 18"

    Raises:
        ConfigError: for a grader that does not exist.
        DataError: when no answer can be read from the reference.
    """
    return get_grader(grader)(response, reference)
