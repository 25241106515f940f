"""The reward of a sampled answer, from the package's own graders."""

from __future__ import annotations

from collections.abc import Iterable

from nlft.errors import DataError
from nlft.grade import get_grader, grade_response
from nlft.grade.numeric import MARKER
from nlft.records import Attempt, Problem

# These accept an answer without the marker; a reward requires it after the marker.
LENIENT = ("gsm8k-strict", "gsm8k-flexible", "number", "authors", "reasoning-gym")


def answer_reward(
    response: str,
    reference: str,
    *,
    grader: str = "gsm8k-flexible",
    partial: float = 0.1,
    problem: Problem | None = None,
) -> float:
    """1 for a correct answer, `partial` for an answer that was found but is wrong, 0 if none was found.

    With a grader in `LENIENT` only text after the first `####` counts: a number without the marker is not an answer.

    Args:
        response: The sampled response.
        reference: The standard answer.
        grader: A name for `nlft.grade.get_grader`.
        partial: The partial reward.
        problem: The whole row, for a grader that reads more than response and reference.

    Raises:
        DataError: if the reference holds no readable answer.

    Example:
        >>> [answer_reward(response, "#### 4") for response in ("2+2 = 4 #### 4", "2+2 = 4 #### 5", "2+2 = 4")]
        [1.0, 0.1, 0.0]

    Source: arXiv 2401.08967, section 3.2, and its authors' code.
    """
    if grader in LENIENT:
        _, marker, answer = response.partition(MARKER)
        response = marker + answer
    if problem is None:
        verdict = grade_response(response, reference, grader)
    else:
        verdict = get_grader(grader)(_answered(problem, response))
    if verdict.correct:
        return 1.0
    return partial if verdict.value is not None else 0.0


def check_references(rows: Iterable[Problem], grader: str) -> None:
    """Stop the run before it begins if a reference cannot be graded against.

    Raises:
        DataError: naming the row.
    """
    for row in rows:
        try:
            get_grader(grader)(_answered(row, ""))
        except DataError as error:
            raise DataError(f"row {row.id!r}: {error.message}", remedy=error.remedy) from None


def _answered(problem: Problem, response: str) -> Attempt:
    return Attempt.model_validate({**dict(problem), "response": response})
