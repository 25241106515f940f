"""Teachers compared: whose answers are right, how long they are, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from pydantic import Field

from nlft.config import Config
from nlft.evaluate.evaluation import Accuracy, tally
from nlft.evaluate.table import Table, interval, percent
from nlft.records import Graded, teacher_of


class Teacher(Config):
    """What one teacher's rows come to."""

    name: str
    right: Accuracy
    words: float = Field(description="median length of a response")
    cut_off: Accuracy = Field(description="responses that ended at the token limit")
    cost: float | None = Field(
        description="sum of the column `cost`, which `nlft answer` writes where prices are given"
    )


def teachers_in(rows: Iterable[Graded]) -> list[Teacher]:
    """Those whose rows they are (`nlft.records.teacher_of`), in their order; none if the rows are all of one."""
    by: dict[str, list[Graded]] = {}
    for row in rows:
        by.setdefault(teacher_of(row) or "not told", []).append(row)
    return [_teacher(name, own) for name, own in by.items()] if len(by) > 1 else []


def _teacher(name: str, rows: Sequence[Graded]) -> Teacher:
    costs = [cost for row in rows if isinstance(cost := (row.model_extra or {}).get("cost"), int | float)]
    return Teacher(
        name=name,
        right=tally(row.verdict.correct for row in rows),
        words=median(len(row.response.split()) for row in rows),
        cut_off=tally(row.finish_reason == "length" for row in rows),
        cost=sum(costs) if len(costs) == len(rows) else None,
    )


def teachers_table(teachers: Sequence[Teacher]) -> Table:
    """One row per teacher."""
    header = ("teacher", "n", "right", "95 %", "words", "cut off", "cost", "cost per right one")
    return Table(header, tuple(map(_line, teachers)))


def _line(teacher: Teacher) -> tuple[str, ...]:
    cost, right = teacher.cost, teacher.right
    return (
        teacher.name,
        str(right.n),
        percent(right.share),
        interval(right.interval),
        f"{teacher.words:.0f}",
        percent(teacher.cut_off.share),
        "-" if cost is None else f"{cost:.4f}",
        "-" if cost is None or not right.count else f"{cost / right.count:.4f}",
    )
