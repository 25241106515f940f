"""From a row as others write it to our fields: GSM8K, MATH, Alpaca, TRL's pairs, chats, the authors' JSON.

`SCHEMAS` is the one place where their columns are named.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Iterable, Mapping
from typing import Any

from nlft.config import did_you_mean
from nlft.data.chats import exchange, parsed, preference_pair
from nlft.errors import DataError
from nlft.prompts import TOOLS

Row = dict[str, Any]

# For each of our fields the columns that may hold it. A row has the first schema all of whose fields it has.
SCHEMAS: dict[str, dict[str, tuple[str, ...]]] = {
    "nlft": {"question": ("question",), "reference": ("reference",)},
    # `output` is the response to learn from, `answer` the standard answer.
    "authors": {
        "question": ("question", "instruction"),
        "reference": ("answer",),
        "response": ("output",),
        "judgment": ("judgment",),
    },
    "gsm8k": {"question": ("question",), "reference": ("answer",)},
    "alpaca": {"question": ("instruction",), "reference": ("output",)},
    "math": {"question": ("problem",), "reference": ("solution",)},  # a column `answer` beside them stays
    "preference": {"reference": ("chosen",), "response": ("rejected",)},  # with or without a prompt of their own
    "prompt-completion": {"question": ("prompt",), "reference": ("completion",)},
    "messages": {"messages": ("messages", "conversations")},
}
UNKNOWN = "COLUMN"
# What else a question or a reference is called, for a remedy that can be copied.
OTHER_NAMES = {
    "question": ("query", "input", "text", "message", "body", "sentence", "ticket", "review", "description"),
    "reference": ("target", "label", "labels", "category", "class", "intent", "sentiment", "topic", "summary"),
}


def rename(row: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    """The row with its columns renamed: `columns` maps our names to theirs; dots lead into objects.

    >>> rename({"problem": "1+1?", "meta": {"answer": "2"}}, {"question": "problem", "reference": "meta.answer"})
    {'meta': {'answer': '2'}, 'question': '1+1?', 'reference': '2'}

    Raises:
        DataError: when the row has no such column.
    """
    taken = set(columns.values())
    renamed = {key: value for key, value in row.items() if key not in taken}
    for ours, theirs in columns.items():
        renamed[ours] = _look_up(row, [theirs] if theirs in row else theirs.split("."), theirs)
    return renamed


def has_column(row: Mapping[str, Any], column: str) -> bool:
    """Whether `rename` finds a column in this row."""
    try:
        return bool(rename(row, {column: column}))
    except DataError:
        return False


def _look_up(row: Mapping[str, Any], path: list[str], column: str) -> Any:
    value: Any = row
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            raise _missing(column, row)
        value = value[part]
    return value


def schema_of(row: Mapping[str, Any]) -> str:
    """The name of the schema whose columns a row has.

    Raises:
        DataError: when it fits no schema.
    """
    for name, fields in SCHEMAS.items():
        if all(any(column in row for column in columns) for columns in fields.values()):
            return name
    question, reference = likeliest(row, "question"), likeliest(row, "reference")
    raise DataError(
        f"no question and answer among the columns {', '.join(sorted(map(_name, row)))[:200] or '(none)'}",
        remedy=f"name them: --map question={question} --map reference={reference}",
    )


def likely_columns(row: Mapping[str, Any]) -> dict[str, str] | None:
    """The columns that question and reference are likeliest in, as `rename` takes them; None if either is not told.

    >>> likely_columns({"Text": "Where is it?", "category": "delivery", "n": "3"})
    {'question': 'Text', 'reference': 'category'}
    """
    found = {field: likeliest(row, field) for field in OTHER_NAMES}
    return None if UNKNOWN in found.values() else found


def likeliest(row: Mapping[str, Any], field: str) -> str:
    """The column with the first of the names that "question" or "reference" may have, in any case; COLUMN where none is."""
    known = [name for fields in SCHEMAS.values() for name in fields.get(field, ())]
    by_name = {str(column).lower(): str(column) for column in row}
    return next((_name(by_name[name]) for name in (*known, *OTHER_NAMES[field]) if name in by_name), UNKNOWN)


def convert(row: Mapping[str, Any], schema: str, *, first_exchange: bool = False) -> Row:
    """A row of that schema under our names; other columns are kept.

    Args:
        row: As read.
        schema: A key of SCHEMAS.
        first_exchange: Take the first question and answer of a longer chat, instead of the last.

    Raises:
        DataError: when the row does not have the schema's columns.
    """
    rest, ours = dict(row), {}
    for field, columns in SCHEMAS[schema].items():
        column = next((column for column in columns if column in rest), columns[0])
        if column in rest:
            ours[field] = rest.pop(column)
        elif field == "judgment":
            ours[field] = None
        elif column != field:  # what our own fields lack, the record says
            raise _missing(column, rest)
        if column == "instruction":
            ours[field] = _with_input(ours[field], rest.pop("input", ""))
    if "judgment" in ours:
        ours["judgment"] = ours["judgment"] or None
    if schema == "preference":
        ours = preference_pair(rest.pop("prompt", None), ours["reference"], ours["response"])
    if all(isinstance(ours.get(field), list) for field in ("question", "reference")):  # TRL's pair of messages
        ours |= {"messages": [*ours.pop("question"), *ours.pop("reference")]}
    if schema == "messages" or "messages" in ours:
        ours |= exchange(ours.pop("messages", None), first_exchange)
    ours = rest | ours
    if isinstance(ours.get(TOOLS), str):
        ours[TOOLS] = parsed(ours[TOOLS], "tools")
    for key in ("id", "reference"):  # a number is as good as its text
        if isinstance(ours.get(key), int | float) and not isinstance(ours[key], bool):
            ours[key] = str(ours[key])
    return {key: _jsonable(value, key) for key, value in ours.items()}


def _with_input(instruction: Any, given: Any) -> str:
    """Alpaca's instruction, then its input where there is one."""
    parts = [part for part in (instruction, given) if part is not None]
    if not all(isinstance(part, str) for part in parts):
        raise DataError("instruction and input are not text", remedy="correct the row")
    return "\n\n".join(part for part in parts if part)


def _missing(column: str, columns: Iterable[Any]) -> DataError:
    return DataError(f'the column "{column}" is missing', remedy=did_you_mean(column, map(str, columns)))


def _name(column: object) -> str:
    """A column's name, fit for one line of an error."""
    return text if (text := str(column)).isprintable() else ascii(text)


def _jsonable(value: Any, column: str) -> Any:
    """A value as JSON can hold it: dates as text, NaN (Parquet's missing value) as null."""
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        raise DataError(f'the column "{_name(column)}" holds an infinite number', remedy="remove it")
    if isinstance(value, Mapping):
        return {str(key): _jsonable(inner, column) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(inner, column) for inner in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    raise DataError(
        f'the column "{_name(column)}" holds {type(value).__name__}, which JSON cannot hold',
        remedy="leave that column out",
    )
