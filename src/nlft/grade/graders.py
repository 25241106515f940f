"""Graders by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from nlft.config import did_you_mean
from nlft.errors import ConfigError
from nlft.grade.numeric import authors, flexible, number, strict
from nlft.grade.task_scorer import grade_by_task
from nlft.grade.textual import choice, exact
from nlft.records import Attempt, Verdict

__all__ = ["BOTH", "Grader", "get_grader", "grade_response", "grader_names", "strict_form"]

# A grader returns its verdict on a record's response. It raises DataError when the record's reference or another
# of its fields, not the response, cannot be read.
Grader = Callable[[Attempt], Verdict]

# These two are recorded whichever grader decides, so that results can be compared with published ones.
BOTH = ("gsm8k-strict", "gsm8k-flexible")


def _by_text(compare: Callable[[str, str], Verdict]) -> Grader:
    return lambda record: compare(record.response, record.reference)


_IN_PROCESS: dict[str, Grader] = {
    "gsm8k-strict": _by_text(strict),
    "gsm8k-flexible": _by_text(flexible),
    "number": _by_text(number),
    "authors": _by_text(authors),
    "choice": _by_text(choice),
    "exact": _by_text(exact),
    "reasoning-gym": grade_by_task,
    "reasoning-gym-strict": partial(grade_by_task, strict=True),
}


def grader_names() -> list[str]:
    """Every name that `get_grader` takes; `code:FILE` stands for any file."""
    return [*_IN_PROCESS, "math", "code:FILE"]


@cache
def get_grader(name: str) -> Grader:
    """The grader of that name.

    - `gsm8k-strict`, `gsm8k-flexible`, `number`, `authors`: see `nlft.grade.numeric`
    - `choice`, `exact`: see `nlft.grade.textual`
    - `reasoning-gym`, `reasoning-gym-strict`: the task's own scorer; see `nlft.grade.task_scorer`
    - `math`: math-verify's symbolic comparison, in a worker process with a deadline
    - `code:FILE`: the function `grade` of a user's Python file, in a worker process; see `nlft.grade.external`

    Raises:
        ConfigError: for a name that does not exist, or a grader that cannot start.
    """
    if name in _IN_PROCESS:
        return _IN_PROCESS[name]
    if name == "math" or name.startswith("code:"):
        from nlft.grade.external import ExternalGrader

        return ExternalGrader(name)
    raise ConfigError(f'there is no grader "{name}"', remedy=did_you_mean(name, grader_names()))


def strict_form(name: str) -> str:
    """The grader that counts as strict beside the named one: the same, unless that has a strict form.

    >>> strict_form("reasoning-gym"), strict_form("exact")
    ('reasoning-gym-strict', 'exact')
    """
    return {"reasoning-gym": "reasoning-gym-strict"}.get(name, name)


def grade_response(response: str, reference: str, grader: str = "gsm8k-flexible", *, question: str = "") -> Verdict:
    """Grade one response with the named grader, from these texts alone.

    >>> grade_response("He pays 3 * 6 = 18 dollars.", "#### 18").reason
    "equals the reference's 18"

    Raises:
        ConfigError: for a grader that does not exist.
        DataError: when no answer can be read from the reference, or the grader needs other fields of a record.
    """
    record = Attempt.model_construct(id="", question=question, reference=reference, response=response)
    return get_grader(grader)(record)
