"""The stage: attempts in, graded attempts out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from nlft.errors import DataError
from nlft.grade.graders import BOTH, get_grader, grade_response
from nlft.records import Attempt, Graded, Judged, Scored, Verdict

__all__ = ["grade", "grade_one"]


def grade(records: Iterable[Attempt], grader: str = "gsm8k-flexible", also: Iterable[str] = ()) -> Iterator[Graded]:
    """Grade attempts one by one, in their order.

    Args:
        records: The attempts; an earlier verdict is replaced, and other fields are kept, except what a
            changed verdict makes obsolete: scores, and a judge's words on a response that is right after all.
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
    also = tuple(also)
    for record in records:
        yield grade_one(record, grader, also)


def grade_one(record: Attempt, grader: str = "gsm8k-flexible", also: Iterable[str] = ()) -> Graded:
    """Grade one attempt; see `grade`."""
    deciding = {grader, *also}
    grades: dict[str, Verdict] = {}
    for name in dict.fromkeys([*BOTH, grader, *also]):
        try:
            grades[name] = grade_response(record.response, record.reference, name)
        except DataError as error:
            # Strict and flexible say nothing of a reference that holds no number; the others were asked for.
            if name in deciding:
                raise DataError(f"row {record.id!r}: {error.message}", remedy=error.remedy) from None
    fields = _still_true(dict(record), grades[grader])
    kind = type(record) if isinstance(record, Graded) else Graded
    if issubclass(kind, Scored) and "scores" not in fields:
        kind = Judged
    return kind.model_validate({**fields, "verdict": grades[grader], "grades": grades})


def _still_true(fields: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    """The fields of a row without what later stages made of the opposite verdict."""
    earlier = fields.get("verdict")
    was = earlier.get("correct") if isinstance(earlier, dict) else getattr(earlier, "correct", None)
    if was is None or was == verdict.correct:
        return fields
    gone = {"scores"} | ({"judgment", "judge"} if verdict.correct and fields.get("judge") is not None else set())
    return {name: value for name, value in fields.items() if name not in gone}
