"""Folds: parts of a file, no question in two of them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from nlft.data.duplicates import normalised
from nlft.errors import DataError
from nlft.records import Graded, Problem


def fold_numbers(rows: Sequence[Problem], folds: int, seed: int = 0) -> list[int]:
    """The fold of each row.

    Rows with the same question (but for case, punctuation and spaces) share a fold. Folds differ by at most one question,
    and by at most one of the questions that have a wrong response.

    Raises:
        DataError: if there are fewer questions than folds.
    """
    questions = [normalised(row.question) for row in rows]
    wrong = {
        question
        for question, row in zip(questions, rows, strict=True)
        if isinstance(row, Graded) and not row.verdict.correct
    }
    order = list(dict.fromkeys(questions))
    if len(order) < folds:
        raise DataError(f"{len(order)} different questions cannot make {folds} folds", remedy="use fewer folds")
    Random(seed).shuffle(order)
    order.sort(key=lambda question: question in wrong)
    numbers = {question: place % folds for place, question in enumerate(order)}
    return [numbers[question] for question in questions]
