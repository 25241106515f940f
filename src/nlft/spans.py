"""Parts of a response, named by their text or their characters, so that they outlive a change of tokenizer.

A column `weights` holds `{"text": ..., "occurrence": n, "weight": w}` (the n-th occurrence; the first without n) or
`{"start": ..., "end": ..., "weight": w}` in characters from 0; a column `marks` holds the same without a weight: the words
that a person called wrong.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nlft.errors import DataError

Places = Sequence[tuple[int, int]]
"""Start and end of each token in the response, in characters; tokens that share a character may overlap."""


class Span(NamedTuple):
    """Characters from `start` up to, not including, `end`."""

    start: int
    end: int
    weight: float


def column_spans(row: Mapping[str, Any], column: str, response: str) -> list[Span]:
    """The spans of a row's column `weights` or `marks`, in the order of the response; empty without the column.

    Raises:
        DataError: for an entry that is malformed or matches nothing, and for weights of which two cover a character.
    """
    entries = row.get(column)
    if entries is None:
        return []
    if not isinstance(entries, list):
        example = '[{"text": "...", "weight": -1}]' if column == "weights" else '[{"text": "..."}]'
        raise DataError(f"{column} must be a list", remedy=f"write it as {example}")
    spans = sorted(read_span(entry, column, response) for entry in entries)
    for before, after in itertools.pairwise(spans):
        if column == "weights" and after.start < before.end:
            both = response[after.start : before.end]
            raise DataError(f"two weights cover {both!r:.60}", remedy="give each character one weight")
    return spans


def faults(row: Mapping[str, Any], column: str, response: str) -> list[str]:
    """What is wrong with a column: each of its entries that is no span or matches nothing, or what they are together."""
    entries, told = row.get(column), []
    for entry in entries if isinstance(entries, list) else []:
        try:
            read_span(entry, column, response)
        except DataError as error:
            told.append(error.message)
    if not told:
        try:
            column_spans(row, column, response)
        except DataError as error:
            told.append(error.message)
    return told


def read_span(entry: Any, column: str, response: str) -> Span:
    """One entry of a column, as characters of the response.

    Raises:
        DataError: if it is malformed or matches nothing.
    """
    weighs = column == "weights"
    # A data set in columns gives every entry all keys, with None where an entry has none.
    given = {key: value for key, value in entry.items() if value is not None} if isinstance(entry, Mapping) else {}
    place = given.keys() - {"weight"}
    numbers = all(type(given[key]) is int for key in place - {"text"})
    by_text = place <= {"text", "occurrence"} and isinstance(given.get("text"), str) and given["text"] != ""
    # The person's marks state the text beside its place, for those who read the file.
    by_place = place - {"text"} == {"start", "end"}
    weight = given.get("weight", 0.0)
    number = isinstance(weight, int | float) and not isinstance(weight, bool) and math.isfinite(weight)
    if not (numbers and (by_text or by_place) and number and weighs is ("weight" in given)):
        more = ', and "weight": a finite number' if weighs else ""
        remedy = f'give "text" (with "occurrence" if it is not the first), or "start" and "end"{more}'
        raise DataError(f"{column} holds {entry!r:.80}, which is no span", remedy=remedy)
    if by_text:
        start, count = -1, given.get("occurrence", 1)
        for _ in range(count):
            start = response.find(given["text"], start + 1)
            if start < 0:
                break
        if start < 0 or count < 1:
            which = f"occurrence {count} of " if count != 1 else ""
            raise DataError(f"{column}: {which}{given['text']!r:.60} does not occur in the response", remedy=_CHECK)
        return Span(start, start + len(given["text"]), float(weight))
    start, end = given["start"], given["end"]
    if not 0 <= start < end <= len(response) or given.get("text", response[start:end]) != response[start:end]:
        named = f" {given['text']!r:.60}" if "text" in given else ""
        told = f"{column}: characters {start} to {end} of the response are not{named or ' there'}"
        raise DataError(told, remedy=_CHECK)
    return Span(start, end, float(weight))


_CHECK = "correct the span; `nlft data check` lists all that match nothing"


def token_weights(spans: Sequence[Span], places: Places, response: str, *, partial: str = "share") -> list[float]:
    """Each token's weight: the mean over its characters, which weigh 1 outside all spans.

    White space at a token's ends does not count, unless it is all there is: the mark on a word is meant for the token
    " word".

    Args:
        spans: of the column `weights`.
        places: the tokens' places.
        response: the text.
        partial: "share", or "refuse" to refuse a span that ends inside a token.

    Raises:
        DataError: for such a span, under "refuse".
    """
    values = [1.0] * len(response)
    for start, end, weight in spans:
        values[start:end] = [weight] * (end - start)
    weights = []
    for start, end in places:
        held = [values[at] for at in _counted(start, end, response)]
        if partial == "refuse" and len(set(held)) > 1:
            raise DataError(
                f"a weight ends inside the token {response[start:end]!r}",
                remedy="weigh whole tokens, or set partial_tokens: share",
            )
        weights.append(sum(held) / len(held) if held else 1.0)
    return weights


def marked_tokens(spans: Sequence[Span], places: Places, response: str) -> list[bool]:
    """Whether each token holds a character of a mark; white space counts as in `token_weights`."""
    marked = {at for start, end, _ in spans for at in range(start, end)}
    return [any(at in marked for at in _counted(start, end, response)) for start, end in places]


def piece_places(pieces: Sequence[str], response: str) -> list[tuple[int, int]]:
    """The places of tokens of which only the texts are known (`Scores.pieces`); those around the response have none.

    A token without a text of its own has that of the next: the bytes of one character.
    """
    begin = max("".join(pieces).find(response.strip()), 0) - (len(response) - len(response.lstrip()))
    ends, at = [], -begin
    for piece in pieces:
        at += len(piece)
        ends.append(at)
    places: list[tuple[int, int]] = []
    following = (0, 0)
    for piece, end in zip(reversed(pieces), reversed(ends), strict=True):
        if piece:
            following = (min(max(end - len(piece), 0), len(response)), min(max(end, 0), len(response)))
        places.append(following)
    return places[::-1]


def _counted(start: int, end: int, response: str) -> Sequence[int]:
    told = [at for at in range(start, end) if not response[at].isspace()]
    return told or range(start, end)
