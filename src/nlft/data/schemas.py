"""From a row as others write it to our fields: GSM8K, MATH, Alpaca, TRL's pairs, chats, the authors' JSON."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Callable, Mapping
from typing import Any

from nlft.config import did_you_mean
from nlft.errors import ConfigError, DataError

__all__ = ["LAYOUTS", "convert", "layout_of", "rename"]

Row = dict[str, Any]
CHAT_KEYS = ("messages", "conversations")
# What others call the two columns we cannot do without; for a remedy that can be copied.
QUESTIONS = ("question", "problem", "prompt", "instruction", "query", "input")
REFERENCES = ("reference", "answer", "solution", "completion", "output", "target", "label")
ASKS, ANSWERS = {"user", "human"}, {"assistant", "gpt", "model", "chatgpt", "bing", "bard"}


def rename(row: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    """The row with the columns of `columns` (our name -> theirs, dots lead into objects) under our names.

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


def _look_up(row: Mapping[str, Any], path: list[str], column: str) -> Any:
    value: Any = row
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            raise DataError(f'the column "{column}" is missing', remedy=did_you_mean(column, map(str, row)))
        value = value[part]
    return value


def layout_of(row: Mapping[str, Any]) -> str:
    """The layout whose columns a row has.

    Raises:
        DataError: when it has those of none.
    """
    columns = set(row)
    if {"question", "reference"} <= columns:
        return "nlft"
    if {"output", "judgment", "answer"} <= columns and columns & {"instruction", "question"}:
        return "authors"
    if {"question", "answer"} <= columns:
        return "gsm8k"
    if {"instruction", "output"} <= columns:
        return "alpaca"
    if {"problem", "solution"} <= columns:
        return "math"
    if {"prompt", "completion"} <= columns:
        return "prompt-completion"
    if columns & set(CHAT_KEYS):
        return "messages"
    question, reference = _likeliest(row, QUESTIONS), _likeliest(row, REFERENCES)
    raise DataError(
        f"no question and answer among the columns {', '.join(sorted(map(_name, columns)))[:200] or '(none)'}",
        remedy=f"name them: --map question={question} --map reference={reference}",
    )


def _likeliest(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The column with the first of these names, however its letters are written; COLUMN where there is none."""
    by_name = {str(column).lower(): str(column) for column in row}
    return next((_name(by_name[name]) for name in names if name in by_name), "COLUMN")


def convert(row: Mapping[str, Any], layout: str, *, first_exchange: bool = False) -> Row:
    """A row of that layout under our names; columns that mean nothing to us are kept.

    Args:
        row: As read.
        layout: One of LAYOUTS.
        first_exchange: Of a chat with several turns take the first question and its answer, instead
            of refusing it.

    Raises:
        ConfigError: for an unknown layout.
        DataError: when the row does not have its columns.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f'there is no layout "{layout}"', remedy=did_you_mean(layout, LAYOUTS))
    ours = _from_messages(row, first_exchange) if layout == "messages" else LAYOUTS[layout](dict(row))
    for key in ("id", "reference"):  # a number is as good as its text
        if isinstance(ours.get(key), int | float) and not isinstance(ours[key], bool):
            ours[key] = str(ours[key])
    return {key: _jsonable(value, key) for key, value in ours.items()}


def _same(row: Row) -> Row:
    return row


def _from_gsm8k(row: Row) -> Row:
    return {"reference": _pop(row, "answer"), **row}


def _from_math(row: Row) -> Row:
    """MATH's worked solution is the reference; a column `answer` beside it stays."""
    return {"question": _pop(row, "problem"), "reference": _pop(row, "solution"), **row}


def _from_pair(row: Row) -> Row:
    """TRL's prompt and completion: two texts, or two lists of messages."""
    prompt, completion = _pop(row, "prompt"), _pop(row, "completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        return _from_messages({"messages": [*prompt, *completion], **row}, False)
    return {"question": prompt, "reference": completion, **row}


def _from_alpaca(row: Row) -> Row:
    return {"question": _ask(row), "reference": _pop(row, "output"), **row}


def _from_authors(row: Row) -> Row:
    """Alpaca's question; `output` is the response to learn from, `answer` the standard answer."""
    question = row.pop("question") if "question" in row else _ask(row)
    fields = {"question": question, "reference": _pop(row, "answer"), "response": _pop(row, "output")}
    judgment = row.pop("judgment", None)
    return {**fields, "judgment": judgment or None, **row}


def _from_messages(row: Mapping[str, Any], first_exchange: bool) -> Row:
    """One exchange: what the user asks is the question, what the assistant says the reference."""
    key = next((key for key in CHAT_KEYS if key in row), None)
    turns = row[key] if key is not None else None
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise DataError("there is no list of messages", remedy='give "messages": [{"role": ..., "content": ...}, ...]')
    said = [(_role(turn), turn.get("content", turn.get("value"))) for turn in turns]
    system = [text for role, text in said if role == "system"]
    talk = [(role, text) for role, text in said if role != "system"]
    if len(talk) > 2 and not first_exchange:
        raise DataError(
            f"the chat has {len(talk)} turns, but an example is one question and one answer",
            remedy="pass --first-exchange to take the first two turns of every chat",
        )
    if [role for role, _ in talk[:2]] != ["user", "assistant"]:
        raise DataError("the chat is not a user's turn and an assistant's", remedy="correct the roles of the messages")
    rest = {name: value for name, value in row.items() if name != key}
    extra = {"system": system[0]} if system else {}
    return {"question": talk[0][1], "reference": talk[1][1], **extra, **rest}


LAYOUTS: dict[str, Callable[[Row], Row]] = {
    "nlft": _same,
    "gsm8k": _from_gsm8k,
    "math": _from_math,
    "prompt-completion": _from_pair,
    "alpaca": _from_alpaca,
    "authors": _from_authors,
    "messages": lambda row: _from_messages(row, False),
}


def _role(turn: Mapping[str, Any]) -> str:
    role = str(turn.get("role", turn.get("from", ""))).lower()
    if role in ASKS:
        return "user"
    return "assistant" if role in ANSWERS else role


def _ask(row: Row) -> str:
    """Alpaca's instruction, then its input where there is one."""
    parts = [_pop(row, "instruction"), row.pop("input", "")]
    if not all(isinstance(part, str) for part in parts if part is not None):
        raise DataError("instruction and input are not text", remedy="correct the row")
    return "\n\n".join(part for part in parts if part)


def _pop(row: Row, column: str) -> Any:
    if column not in row:
        raise DataError(f'the column "{column}" is missing', remedy=did_you_mean(column, map(str, row)))
    return row.pop(column)


def _name(column: object) -> str:
    """A column's name, fit for one line of an error."""
    return text if (text := str(column)).isprintable() else ascii(text)


def _jsonable(value: Any, column: str) -> Any:
    """What Parquet and the hub hold besides JSON's types: a date as text, NaN (no value) as null."""
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
