"""Subsets as in the paper: one seeded shuffle of the row numbers, of which a subset is the first k; and held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from nlft.data.duplicates import normalised
from nlft.errors import ConfigError
from nlft.records import Problem

__all__ = ["hold_out", "subset_rows"]

P = TypeVar("P", bound=Problem)


def subset_rows(total: int, n: int | None, seed: int = 42) -> list[int]:
    """The row numbers, from 0, that a subset of n out of `total` rows holds, in its order.

    Subsets with the same seed are nested: the first 50 are part of the first 75, and so on, so a
    curve over sizes differs by size alone. With n None, all rows in the order of the file.

    >>> subset_rows(5, 2), subset_rows(5, 3), subset_rows(3, None)
    ([3, 1], [3, 1, 2], [0, 1, 2])

    Raises:
        ConfigError: when n is below 1 or more than there are rows.
    """
    if n is None:
        return list(range(total))
    if n < 1:
        raise ConfigError(f"n is {n}, so there is nothing to take", remedy="ask for one row or more")
    if n > total:
        raise ConfigError(f"n is {n}, but there are {total} rows", remedy=f"ask for at most {total}")
    rows = list(range(total))
    Random(seed).shuffle(rows)
    return rows[:n]


def hold_out(rows: Sequence[P], n: int, seed: int = 42) -> tuple[list[P], list[P]]:
    """Rows to train on and rows to test on, both in their order; no question stands on both sides.

    Args:
        rows: All rows; several of one question (its letters' case, punctuation and spaces do not count) stay together.
        n: How many questions to hold out.
        seed: Of the shuffle of the questions.

    Raises:
        ConfigError: when nothing would be left to train on.
    """
    questions = list(dict.fromkeys(normalised(row.question) for row in rows))
    if n >= len(questions):
        raise ConfigError(
            f"{n} questions are to be held out, but there are {len(questions)} different ones",
            remedy="hold out fewer; a fifth is usual",
        )
    held = {questions[place] for place in subset_rows(len(questions), n, seed)}
    train = [row for row in rows if normalised(row.question) not in held]
    return train, [row for row in rows if normalised(row.question) in held]
