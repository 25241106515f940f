"""Teachers compared: whose answers are right, how long they are, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from nlft.evaluate.evaluation import tally
from nlft.evaluate.table import Table, interval, percent
from nlft.records import Graded, teacher_of

__all__ = ["teachers_table"]


def teachers_table(rows: Iterable[Graded]) -> Table | None:
    """One row per teacher, in the order of the rows; None if they are not by several (`nlft.records.teacher_of`).

    `words` is the median length of a response; `cost` the sum of the column that `nlft answer` writes where prices are
    given, and per right answer.
    """
    by: dict[str, list[Graded]] = {}
    for row in rows:
        by.setdefault(teacher_of(row) or "not told", []).append(row)
    if len(by) < 2:
        return None
    header = ("teacher", "n", "right", "95 %", "words", "cut off", "cost", "cost per right one")
    lines = []
    for name, own in by.items():
        right = tally(row.verdict.correct for row in own)
        costs = [cost for row in own if isinstance(cost := (row.model_extra or {}).get("cost"), int | float)]
        cost = sum(costs) if len(costs) == len(own) else None
        lines.append(
            (
                name,
                str(len(own)),
                percent(right.share),
                interval(right.interval),
                f"{median(len(row.response.split()) for row in own):.0f}",
                percent(tally(row.finish_reason == "length" for row in own).share),
                "-" if cost is None else f"{cost:.4f}",
                "-" if cost is None or not right.count else f"{cost / right.count:.4f}",
            )
        )
    return Table(header, tuple(lines))
