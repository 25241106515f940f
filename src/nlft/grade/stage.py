"""The stage: attempts in, graded attempts out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nlft.errors import DataError
from nlft.grade.graders import BOTH, get_grader, grade_response
from nlft.records import Attempt, Graded, Verdict

__all__ = ["grade", "grade_one"]


def grade(records: Iterable[Attempt], grader: str = "gsm8k-flexible", also: Iterable[str] = ()) -> Iterator[Graded]:
    """Grade attempts one by one, in their order.

    Args:
        records: The attempts; their other fields are kept.
        grader: Decides the verdict (see `nlft.grade.get_grader`).
        also: Further graders to run; what each said goes to `grades`, by name.

    Yields:
        The record with `verdict`, and with `grades` that hold the deciding grader, those of `also`,
        and GSM8K's strict and flexible where the reference holds a number.

    Raises:
        ConfigError: for a grader that does not exist.
        DataError: naming the row, when no answer can be read from its reference.
    """
    get_grader(grader)
    for record in records:
        yield grade_one(record, grader, also)


def grade_one(record: Attempt, grader: str = "gsm8k-flexible", also: Iterable[str] = ()) -> Graded:
    """Grade one attempt; see `grade`."""
    try:
        verdict = grade_response(record.response, record.reference, grader)
        grades = {name: grade_response(record.response, record.reference, name) for name in also if name != grader}
    except DataError as error:
        raise DataError(f"row {record.id!r}: {error.message}", remedy=error.remedy) from None
    for name in BOTH:
        if name not in grades and name != grader:
            grades |= _if_it_applies(name, record)
    before = record.grades if isinstance(record, Graded) else {}
    row = {**dict(record), "verdict": verdict, "grades": {**before, **grades, grader: verdict}}
    return (type(record) if isinstance(record, Graded) else Graded).model_validate(row)


def _if_it_applies(name: str, record: Attempt) -> dict[str, Verdict]:
    """Strict and flexible say nothing of a reference that holds no number."""
    try:
        return {name: grade_response(record.response, record.reference, name)}
    except DataError:
        return {}
