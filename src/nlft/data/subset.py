"""Subsets as in the paper (the first k row numbers of one seeded shuffle), and held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from nlft.data.duplicates import normalised
from nlft.errors import ConfigError
from nlft.records import Problem

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
        raise ConfigError(f"n is {n}, so there would be no rows", remedy="ask for one row or more")
    if n > total:
        raise ConfigError(f"n is {n}, but there are {total} rows", remedy=f"ask for at most {total}")
    rows = list(range(total))
    Random(seed).shuffle(rows)
    return rows[:n]


def hold_out(rows: Sequence[P], n: int, seed: int = 42) -> tuple[list[P], list[P]]:
    """Split rows into a training and a test set, both in order, that share no question.

    Args:
        rows: All rows; those with the same question (but for case, punctuation and spaces) stay together.
        n: How many questions to hold out.
        seed: Shuffle seed.

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
