"""Several models that answer the same problems, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from nlft import processes
from nlft.answer.config import AnswerSettings
from nlft.answer.factory import make_answerer
from nlft.answer.limits import Spending
from nlft.answer.types import Answerer
from nlft.errors import ConfigError
from nlft.records import Problem

P = TypeVar("P", bound=Problem)


def teachers(settings: AnswerSettings) -> Iterator[Answerer]:
    """Each model of the settings, made when it is its turn, so that no two are in memory; limits are for all together.

    Raises:
        ConfigError: for two models of one name, and where a launcher started several processes.
    """
    if processes.count() > 1:
        told = "several models answer one after the other, in one process"
        raise ConfigError(told, remedy="start it without a launcher")
    names = [make_answerer(own).name for own in settings.each()]  # which loads nothing
    if twice := [name for name in names if names.count(name) > 1]:
        remedy = "answer with each by itself, and put the files together: nlft data merge"
        raise ConfigError(f'two models are called "{twice[0]}"', remedy=remedy)
    return _in_turn(settings)


def _in_turn(settings: AnswerSettings) -> Iterator[Answerer]:
    spending = Spending(settings)
    for own in settings.each():
        who: Any = make_answerer(own)
        if hasattr(who, "spending"):
            who.spending = spending
        yield who


def by_problem(made: Mapping[str, Sequence[P]], problems: Sequence[Problem], samples: int) -> list[P]:
    """The rows of several models, by name, so that those of a problem stand together, in the order of the models.

    Their ids become `id@name`, and `source` the name, unless the problem has a column `source` of its own.
    """
    ids = (f"{row.id}#{sample}" if samples > 1 else row.id for row in problems for sample in range(samples))
    place = {name: number // samples for number, name in enumerate(ids)}
    rows = [(place[row.id], row, name) for name, each in made.items() for row in each]
    rows.sort(key=lambda each: each[0])
    return [type(row).model_validate({"source": name, **dict(row), "id": f"{row.id}@{name}"}) for _, row, name in rows]
