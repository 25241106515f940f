"""Subsets as in the paper: one seeded shuffle of the row numbers, of which a subset is the first k."""

from __future__ import annotations

from random import Random

from nlft.errors import ConfigError

__all__ = ["subset_rows"]


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
