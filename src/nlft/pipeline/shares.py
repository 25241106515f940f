"""Training rows in given shares, one row a question: of incorrect ones, or of several teachers."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from nlft.config import did_you_mean
from nlft.data.duplicates import normalised
from nlft.errors import ConfigError, DataError
from nlft.records import Judged, teacher_of

SHARE_HELP = (
    "exact share of incorrect rows among the training rows, one row a question: the first incorrect rows, and the first "
    "correct ones of other questions; by default as they come"
)
MIX_HELP = (
    "shares of several teachers among the training rows, one row a question, such as {big: 0.7, small: 0.3}; a teacher's "
    "name is the `answerer` of its rows, or else their `source`; by default the rows as they come"
)
Mix = dict[str, Annotated[float, Field(gt=0)]]


def incorrect_rows(rows: Sequence[Judged], share: float, size: int | None, file: Path) -> list[Judged]:
    """`size` rows, one a question, with this share of incorrect ones, in input order."""
    size = len({normalised(row.question) for row in rows}) if size is None else size
    incorrect = [row for row in rows if not row.verdict.correct][: round(size * share)]
    asked = {normalised(row.question) for row in incorrect}
    others = [row for row in rows if row.verdict.correct and normalised(row.question) not in asked]
    wanted = {row.id for row in [*incorrect, *others[: size - len(incorrect)]]}
    if len(incorrect) < round(size * share) or len(wanted) < size:
        raise DataError(
            f"{size} rows, {share:.0%} of them incorrect, are asked for, but there are {len(incorrect)} incorrect rows and "
            f"{len(others)} correct ones of other questions",
            file=file,
            remedy="lower `sizes`, or choose another incorrect_share",
        )
    return [row for row in rows if row.id in wanted]


def mixed_rows(rows: Sequence[Judged], mix: Mix, size: int | None, file: Path) -> list[Judged]:
    """`size` rows (by default one for each question), with these shares of the teachers, in input order.

    From the first question on, the teacher answers who lacks most for the questions that it can still answer.
    """
    asked: dict[str, dict[str, Judged]] = {}
    for row in rows:
        asked.setdefault(normalised(row.question), {}).setdefault(teacher_of(row) or "", row)
    known = sorted({name for each in asked.values() for name in each if name})
    for name in mix:
        if name not in known:
            raise ConfigError(f'no row is by "{name}"', file=file, remedy=did_you_mean(name, known))
    total = sum(mix.values())
    count = size if size is not None else len(asked)
    bounds = [round(count * share / total) for share in itertools.accumulate(mix.values())]
    lacks = {name: high - low for name, low, high in zip(mix, [0, *bounds], bounds, strict=False)}
    wanted, open_ = dict(lacks), Counter(name for each in asked.values() for name in each)
    chosen: list[str] = []
    for each in asked.values():
        if able := [name for name in mix if name in each and lacks[name]]:
            name = max(able, key=lambda name: lacks[name] / open_[name])
            lacks[name] -= 1
            chosen.append(each[name].id)
        open_.subtract(list(each))
    if any(lacks.values()):
        told = ", ".join(f"{wanted[name] - lacks[name]} of {wanted[name]} by {name}" for name in mix)
        remedy = "lower `sizes`, change the shares, or let the teachers answer more problems"
        raise DataError(f"the mix cannot be made of these rows: there are {told}", file=file, remedy=remedy)
    return [row for row in rows if row.id in set(chosen)]
