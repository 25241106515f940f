"""The arithmetic of a worked answer: every `a op b ... = c` in a text, read and checked exactly.

Written steps mix numbers with words: `$45 for shirts + $10 = $55`, `30 minutes x 5 days = 150 minutes`,
`20% of 50 = 10`, `\\frac{1}{4} \\times 180 = 45`, `48/2 = <<48/2=24>>24`. A small tokenizer and a parser by
precedence read them with fractions, never with `eval`. What cannot be read for certain (an unknown, a
power, a word where a number should be) is left out: to call a right step wrong is worse than to miss a
wrong one. Time is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from nlft.grade.numbers import find_numbers
from nlft.steps.expressions import UNITS, Expression, expressions
from nlft.steps.tokens import Token, tokenize

ANNOTATION = re.compile(r"<<([^<>\n]{0,300})>>")
_PERCENT = re.compile(r"\s?\\?%")
# `1. `, `- `, `**Step 3:**`, `### Part 2.`: they count steps, not things.
_LIST_MARK = re.compile(
    r"^[^\S\n]*(?:[*_#>]{1,6}[^\S\n]*)?(?:(?:\d{1,3}[.)]|[-•])[^\S\n]+|(?:step|part)[^\S\n]+\d{1,3}\b)",
    re.MULTILINE | re.IGNORECASE,
)
_SUBSCRIPT = re.compile(r"(?<=[A-Za-z)}])_(?:\{[^{}\n]{1,20}\}|\d{1,3})")


@dataclass(frozen=True)
class Number:
    """A number in a text; `percent` where a % sign follows it."""

    value: Fraction
    start: int
    end: int
    percent: bool = False

    @property
    def values(self) -> tuple[Fraction, ...]:
        """Its possible values: 20% is 20 and 1/5."""
        return (self.value, self.value / 100) if self.percent else (self.value,)


@dataclass(frozen=True)
class Equation:
    """One `left = right` of a text, with what it says checked exactly.

    `verdict` is "right", "wrong", or "rounded" where the right side is the left one rounded to a whole
    number; `partial` holds the values met on the way (of 15 + 30 + 25 also 45), for comparing solutions.
    """

    start: int
    end: int
    left_text: str
    right_text: str
    left: Fraction
    right: Fraction
    verdict: Literal["right", "wrong", "rounded"]
    partial: frozenset[Fraction] = field(default_factory=frozenset)


def numbers(text: str) -> list[Number]:
    """Every number of a text, in its order, without list marks, step labels, subscripts and calculator annotations."""
    found: list[Number] = []
    for number in find_numbers(_blank_annotations(text)):
        if number.value is not None:
            end = number.start + len(number.text)
            found.append(Number(number.value, number.start, end, percent=_PERCENT.match(text, end) is not None))
    return found


def equations(text: str) -> list[Equation]:
    """Every equation of a text that can be read for certain, in its order.

    >>> [(e.left_text, str(e.left), str(e.right), e.verdict) for e in equations("He has 3 boxes x 4 = 13 pens.")]
    [('3 boxes x 4', '12', '13', 'wrong')]
    """
    found = list(_equations(tokenize(_blank_annotations(text)), text))
    for match in ANNOTATION.finditer(text):
        inside = tokenize(match.group(1), offset=match.start(1))
        # An annotation repeats the step it is in: it counts only where that step could not be read.
        for equation in _equations(inside, text):
            if not any(other.start <= match.start() < other.end for other in found):
                found.append(equation)
    return sorted(found, key=lambda equation: equation.start)


def _blank_annotations(text: str) -> str:
    """Calculator annotations, marks of lists and steps, and subscripts turned into blanks: all offsets stay true."""
    for pattern in (ANNOTATION, _LIST_MARK, _SUBSCRIPT):
        text = pattern.sub(lambda match: " " * len(match.group()), text)
    return text


def _equations(tokens: list[Token], text: str) -> Iterator[Equation]:
    """Pair the expression that ends at each equals sign with the one that begins behind it."""
    segments: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind == "equals":
            segments.append([])
        else:
            segments[-1].append(token)
    found = [(segment, expressions(segment)) for segment in segments]
    for (left_segment, lefts), (_, rights) in pairwise(found):
        if not lefts or not rights:
            continue
        left, right = lefts[-1], rights[0]
        if left.spoiled or right.spoiled or left.operators == 0 or left.mixes_units:
            continue
        if left.last != len(left_segment) or right.first != 0:
            continue
        if text.startswith("}{", max(0, left.start - 1)):
            continue  # the denominator of a fraction whose numerator could not be read
        yield _check(left, right, text)


def _check(left: Expression, right: Expression, text: str) -> Equation:
    start = left.start - (left.start > 0 and text[left.start - 1] in "$€£")
    written, shown = text[start : left.end], text[right.start : right.end]
    lefts, rights = {left.plain, left.bare}, {right.plain, right.bare}
    # The run-on `5 + 3 = 8 + 2 = 10` passes, and so does `3/3 - 2/3 = 1/3 of 150`: each number in it is right.
    run_on = right.head in lefts or (" of " in shown and bool(lefts & right.partial))
    if "$" in written:
        left.units.add("dollar")
    if "$" in text[max(0, right.start - 1) : right.end]:
        right.units.add("dollar")
    verdict: Literal["right", "wrong", "rounded"] = "wrong"
    if _agree(lefts, rights, shown) or run_on or _converted(left, right):
        verdict = "right"
    elif right.operators == 0 and right.plain.denominator == 1 and abs(left.plain - right.plain) < 1:
        verdict = "rounded"
    partial = frozenset(left.partial | right.partial)
    return Equation(start, right.end, written.strip(), shown.strip(), left.plain, right.plain, verdict, partial)


def _agree(lefts: set[Fraction], rights: set[Fraction], shown: str) -> bool:
    """Equal, or equal when rounded or cut to the decimals that are shown."""
    decimals = re.search(r"\.(\d+)", shown)
    tolerance = Fraction(1, 10 ** len(decimals.group(1))) if decimals else Fraction(0)
    return any(abs(a - b) < tolerance or a == b for a in lefts for b in rights)


def _converted(left: Expression, right: Expression) -> bool:
    """Whether a change of unit on the way (8 x 30 minutes = 4 hours) makes the two sides agree."""
    for before in left.units & UNITS.keys():
        for after in right.units & UNITS.keys():
            (kind, size), (other_kind, other_size) = UNITS[before], UNITS[after]
            if kind == other_kind and left.plain * size == right.plain * other_size:
                return True
    # 100 * 0.75 = $0.75: cents whose name is not written
    cents = {right.plain * 100, right.plain / 100}
    return ("dollar" in left.units) != ("dollar" in right.units) and left.plain in cents
