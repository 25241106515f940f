"""Which answers to train on: the pieces of self-study in rounds.

Sample several answers per problem (`answer(..., samples=k)`), drop repetitions, keep incorrect examples
to a share, and mix in a teacher's answers.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from nlft.errors import ConfigError
from nlft.records import Attempt, Graded

INCORRECT_SHARE = 0.2
"""The paper (§6.1) finds that a larger share of incorrect examples slows learning; the number is ours."""

A = TypeVar("A", bound=Attempt)
G = TypeVar("G", bound=Graded)


def deduplicate(attempts: Iterable[A]) -> list[A]:
    """Keep the first of the responses to a question that are the same but for case, spaces and punctuation.

    Signs of arithmetic and digits count: `3 + 4` and `3 - 4` are two responses.
    """
    seen: set[tuple[str, str]] = set()
    kept: list[A] = []
    for attempt in attempts:
        plain = attempt.response.casefold().replace("**", "")  # Markdown's bold
        bare = " ".join(re.findall(r"[^\W_]+|[-+*/=<>%]", plain))
        key = (attempt.question, bare)
        if key not in seen:
            seen.add(key)
            kept.append(attempt)
    return kept


def limit_incorrect(graded: Sequence[G], share: float | None = INCORRECT_SHARE, *, seed: int = 0) -> list[G]:
    """Keep every correct row, and incorrect ones up to `share` of all that is kept; in input order.

    Args:
        graded: The rows; judged ones too.
        share: Largest share of incorrect rows, 0 to 1. None keeps all, and 1 keeps all too. Without any
            correct row nothing can be in proportion to it: a share below 1 then keeps none.
        seed: Of the draw among the incorrect rows.
    """
    _check_share("share", 0.0 if share is None else share)
    if share is None or share == 1:
        return list(graded)
    wrong = [place for place, row in enumerate(graded) if not row.verdict.correct]
    right = len(graded) - len(wrong)
    # wrong / (wrong + right) <= share, in whole rows; the hair keeps 0.2 of 5 from becoming 0.9999 rows.
    most = int(share * right / (1 - share) + 1e-9)
    drawn = set(random.Random(seed).sample(wrong, min(most, len(wrong))))
    return [row for place, row in enumerate(graded) if row.verdict.correct or place in drawn]


def mix(student: Sequence[G], teacher: Sequence[G], teacher_share: float, *, seed: int = 0) -> list[G]:
    """A teacher's rows after the student's, so that they are `teacher_share` of the whole.

    Problems that the student has not solved once get theirs first; then a draw. Where the teacher has too
    few rows, student rows are drawn out until the share is met. With a share of 0 the teacher says
    nothing, with 1 the student.

    Args:
        student: Graded rows of the model that is trained.
        teacher: Graded rows of the teacher. A row that is word for word a student's is passed over.
        teacher_share: 0 to 1.
        seed: Of both draws.
    """
    _check_share("teacher_share", teacher_share)
    if teacher_share == 0:
        return list(student)
    own = {(row.question, row.response) for row in student}
    others = [row for row in teacher if (row.question, row.response) not in own]
    if teacher_share == 1:
        return others
    draw = random.Random(seed)
    solved = {row.question for row in student if row.verdict.correct}
    order = sorted(range(len(others)), key=lambda place: (others[place].question in solved, draw.random()))
    wanted = round(len(student) * teacher_share / (1 - teacher_share))
    taken = sorted(order[:wanted])
    kept = list(range(len(student)))
    if len(taken) < wanted:
        kept = sorted(draw.sample(kept, round(len(taken) * (1 - teacher_share) / teacher_share)))
    return [student[place] for place in kept] + [others[place] for place in taken]


def _check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise ConfigError(f"{name} cannot be {share}", remedy="a share lies between 0 and 1")
