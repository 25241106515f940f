"""The grader `json`: does a response give the reference's fields and values, and no others?

The order of the fields, a fence and text around the object do not count. Numbers are compared as numbers (1 = 1.0),
never with text ("1" is not 1) or truth values. The elements of a list are compared in order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from nlft.errors import ConfigError, DataError
from nlft.records import Verdict

SHOWN = 200
FENCE = re.compile(r"```(?:json|JSON)?\s*\n(.*?)(?:```|\Z)", re.DOTALL)
STARTS = 1000  # brackets at which a value is looked for
RIGHT = "right"
_ABSENT = object()


def json_fields(response: str, reference: str, schema: Mapping[str, Any] | None = None) -> Verdict:
    """The verdict on every field; correct if all are right. The score is the share of right fields of all that either has.

    >>> json_fields('Here: ```json {"date": "1 May", "total": 125.0}```', '{"total": 125, "date": "1 May"}').correct
    True
    >>> json_fields('{"total": "125"}', '{"total": 125, "date": "1 May"}').reason
    'total is "125", should be 125; date is missing'

    Raises:
        DataError: when the reference is no JSON.
    """
    wanted = reference_json(reference)
    found = find_json(response, type(wanted))
    if found is None:
        reason = "no JSON in the response" if response.strip() else "the response is empty"
        return Verdict(correct=False, score=0.0, reason=reason)
    value, text = found
    fields = compare_fields(wanted, value)
    wrong = [f"{path} {said}" for path, said in fields.items() if said != RIGHT]
    broken = None if schema is None or wrong else _breaks(value, schema)
    reason = "; ".join(wrong) or (f"breaks the schema: {broken}" if broken else "every field is right")
    return Verdict.model_validate(
        {
            "correct": not wrong and broken is None,
            "value": _show(value),
            "extracted": text[:SHOWN],
            "score": (len(fields) - len(wrong)) / len(fields) if fields else 1.0,
            "reason": reason if len(reason) <= 2 * SHOWN else reason[: 2 * SHOWN] + " …",
            "fields": fields,
        }
    )


def json_alone(response: str, reference: str, schema: Mapping[str, Any] | None = None) -> Verdict:
    """The strict form of `json_fields`: the response is JSON and nothing else, no fence either."""
    try:
        _load(response.strip())
    except ValueError:
        reference_json(reference)
        return Verdict(correct=False, score=0.0, reason="the response is not JSON alone")
    return json_fields(response, reference, schema)


def compare_fields(wanted: Any, given: Any) -> dict[str, str]:
    """For the path of every field of either, "right" or what is wrong with it.

    >>> compare_fields({"a": 1, "b": {"c": True}}, {"a": 1.0, "b": {"c": 1}, "d": None})
    {'a': 'right', 'b.c': 'is 1, should be true', 'd': 'does not belong there'}
    """
    return dict(_compare("", wanted, given))


def _compare(path: str, wanted: Any, given: Any) -> Iterator[tuple[str, str]]:
    if isinstance(wanted, dict) and isinstance(given, dict):
        for name in dict.fromkeys([*wanted, *given]):
            yield from _compare(f"{path}.{name}" if path else name, wanted.get(name, _ABSENT), given.get(name, _ABSENT))
    elif isinstance(wanted, list) and isinstance(given, list):
        for place in range(max(len(wanted), len(given))):
            pair = [values[place] if place < len(values) else _ABSENT for values in (wanted, given)]
            yield from _compare(f"{path}[{place}]", *pair)
    elif given is _ABSENT:
        yield path, "is missing"
    elif wanted is _ABSENT:
        yield path, "does not belong there"
    else:
        told = RIGHT if _same(wanted, given) else f"is {_show(given)}, should be {_show(wanted)}"
        yield path or "the value", told


def _same(wanted: Any, given: Any) -> bool:
    numbers = [isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in (wanted, given)]
    return bool(wanted == given) if all(numbers) else type(wanted) is type(given) and bool(wanted == given)


def find_json(text: str, kind: type = dict) -> tuple[Any, str] | None:
    """The JSON value of a response and its text: the whole, else the last of this kind in a fence, else anywhere."""
    try:
        return _load(text.strip()), text.strip()
    except ValueError:
        pass
    for part in (*reversed(FENCE.findall(text)), text):
        last = None
        for value, piece in _values(part):
            if isinstance(value, kind):
                last = value, piece
        if last is not None:
            return last
    return None


def _values(text: str) -> Iterator[tuple[Any, str]]:
    """The objects and lists in a text that are not within another."""
    decoder = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse)
    place = 0
    for _ in range(STARTS):
        start = min((at for sign in "{[" if (at := text.find(sign, place)) >= 0), default=-1)
        if start < 0:
            return
        try:
            value, place = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            place = start + 1
            continue
        yield value, text[start:place]


def reference_json(reference: str) -> Any:
    """The reference's value.

    Raises:
        DataError: when it is no JSON.
    """
    try:
        return _load(reference.strip())
    except ValueError:
        raise DataError(
            "the reference is not JSON", remedy='write it as {"field": "value"}, or choose another grader'
        ) from None


def read_schema(file: str | Path) -> dict[str, Any]:
    """A JSON Schema.

    Raises:
        ConfigError: for a file that is missing or holds none, or where jsonschema is not installed.
    """
    try:
        import jsonschema

        schema = json.loads(Path(file).read_text(encoding="utf-8"))
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except ImportError:
        remedy = 'pip install "nlft[json]"'
        raise ConfigError("a schema needs the package jsonschema, which is not installed", remedy=remedy) from None
    except OSError:
        raise ConfigError("no such file", file=file, remedy="write --grader json:SCHEMA.json") from None
    except (ValueError, jsonschema.SchemaError) as error:
        told = str(error).partition("\n")[0]
        raise ConfigError(f"this is no JSON Schema: {told}", file=file, remedy="correct the file") from None
    return schema if isinstance(schema, dict) else {}


def _breaks(value: Any, schema: Mapping[str, Any]) -> str | None:
    """The first thing in which a value breaks the schema."""
    import jsonschema

    plain = json.loads(json.dumps(value, default=float))
    errors = jsonschema.validators.validator_for(schema)(schema).iter_errors(plain)
    return next((f"{error.json_path}: {error.message}"[:SHOWN] for error in errors), None)


def _load(text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=lambda number: float(number))
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
