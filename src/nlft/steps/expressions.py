"""Arithmetic expressions between words, found and evaluated with fractions by a parser by precedence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from nlft.steps.tokens import OPERAND_STARTS, Token

OPERATORS = frozenset({"plus", "minus", "times", "over"})
MAX_OPERANDS = 200
MAX_DEPTH = 20
MAX_UNIT_WORDS = 4

# How many of the smallest unit of its kind one of these is; a step may convert on the way.
UNITS: dict[str, tuple[str, Fraction]] = {
    name: (kind, Fraction(size))
    for kind, sizes in {
        "time": {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800},
        "years": {"month": 1, "year": 12},
        "money": {"cent": 1, "dollar": 100},
        "length": {"inch": 1, "foot": 12, "feet": 12, "yard": 36, "mile": 63360},
        "metric length": {"millimeter": 1, "centimeter": 10, "meter": 1000, "kilometer": 1000000},
        "weight": {"ounce": 1, "pound": 16, "ton": 32000},
        "metric weight": {"gram": 1, "kilogram": 1000},
        "volume": {"cup": 1, "pint": 2, "quart": 4, "gallon": 16},
        "metric volume": {"milliliter": 1, "liter": 1000},
    }.items()
    for name, size in sizes.items()
}


class _UnreadableError(Exception):
    """This piece is no arithmetic that can be read for certain."""


@dataclass
class Expression:
    """An arithmetic expression: tokens first to last (exclusive) of a segment between two equals signs."""

    first: int
    last: int
    start: int  # its place in the text
    end: int
    plain: Fraction  # with 20% as 1/5
    bare: Fraction  # with 20% as 20
    operators: int
    head: Fraction
    partial: set[Fraction]
    units: set[str]
    sums: bool
    spoiled: bool

    @property
    def mixes_units(self) -> bool:
        """Whether it adds or subtracts amounts in several units of one kind, as in 4 pounds - 6 ounces."""
        kinds = [UNITS[unit] for unit in self.units & UNITS.keys()]
        return self.sums and len({size for _, size in kinds}) > len({kind for kind, _ in kinds})


def expressions(segment: Sequence[Token]) -> list[Expression]:
    """The expressions of a segment, from left to right."""
    found: list[Expression] = []
    position = 0
    while position < len(segment):
        if segment[position].kind not in OPERAND_STARTS | {"minus"}:
            position += 1
            continue
        parser = _Parser(segment, position)
        try:
            plain = parser.expression()
            percents = any(token.kind == "percent" for token in segment[position : parser.position])
            bare = _Parser(segment, position, percent=Fraction(1)).expression() if percents else plain
        except (_UnreadableError, ZeroDivisionError):
            position = max(position, parser.position) + 1
            continue
        found.append(
            Expression(
                first=position,
                last=parser.position,
                start=segment[position].start,
                end=segment[parser.position - 1].end,
                plain=plain,
                bare=bare,
                operators=parser.operators,
                head=parser.operands[0],
                partial=parser.partial | {plain},
                units=parser.units,
                sums=parser.sums,
                spoiled=_spoiled(segment, position, parser.position),
            )
        )
        position = parser.position
    return found


def _spoiled(segment: Sequence[Token], first: int, last: int) -> bool:
    """Whether what is next to segment[first:last] may belong to it, so that it cannot be read for certain."""
    before = segment[first - 1].kind if first else "stop"
    after, behind = ([token.kind for token in segment[last : last + 2]] + ["stop", "stop"])[:2]
    if after == "minus" and behind == "word":
        after = "word"  # 3 + 4 - as he said
    return before in OPERATORS | {"bad", "percent", "number"} or after in OPERATORS | {"bad", "number"}  # 80 000


class _Parser:
    """expression := term (± term)*; term := factor ((*|/) factor)*; factor := -factor | group | fraction | number."""

    def __init__(self, tokens: Sequence[Token], position: int, percent: Fraction = Fraction(1, 100)) -> None:
        self.tokens, self.position, self.percent = tokens, position, percent
        self.depth = self.operators = 0
        self.operands: list[Fraction] = []
        self.partial: set[Fraction] = set()
        self.units: set[str] = set()
        self.sums = False

    def kind(self, ahead: int = 0) -> str:
        index = self.position + ahead
        return self.tokens[index].kind if index < len(self.tokens) else "end"

    def expression(self) -> Fraction:
        value = self.term()
        while self.kind() in {"plus", "minus"} and self.kind(1) in OPERAND_STARTS:
            sign = 1 if self.kind() == "plus" else -1
            self.position += 1
            self.operators += 1
            self.sums = True
            value += sign * self.term()
            self.partial.add(value)
        return value

    def term(self) -> Fraction:
        value = self.factor()
        while True:
            if self.kind() in {"times", "over"} and self.kind(1) in OPERAND_STARTS:
                times = self.kind() == "times"
                self.position += 1
            elif self.kind() == "open" and self.tokens[self.position - 1].end == self.tokens[self.position].start:
                times = True  # 2(3 + 4)
            else:
                return value
            self.operators += 1
            factor = self.factor()
            value = value * factor if times else value / factor
            self.partial.add(value)

    def factor(self) -> Fraction:
        if self.depth >= MAX_DEPTH or len(self.operands) >= MAX_OPERANDS:
            raise _UnreadableError
        self.depth += 1
        if self.kind() == "minus":
            self.position += 1
            value = -self.factor()
        elif self.kind() == "frac":
            self.position += 1
            self.operators += 1
            value = self.group() / self.group()
        elif self.kind() == "open":
            value = self.group()
        else:
            value = self.number()
        self.depth -= 1
        self.skip_units()
        return value

    def group(self) -> Fraction:
        if self.kind() != "open":
            raise _UnreadableError
        self.position += 1
        value = self.expression()
        if self.kind() != "close":
            raise _UnreadableError
        self.position += 1
        return value

    def number(self) -> Fraction:
        value = self.tokens[self.position].value if self.kind() == "number" else None
        if value is None:
            raise _UnreadableError
        self.position += 1
        self.operands.append(value)
        self.partial.add(value)
        if self.kind() == "percent":
            self.position += 1
            value *= self.percent
            self.partial.add(value)
        return value

    def skip_units(self) -> None:
        """Skip the words after an operand where an operator, a bracket or the end of the segment follows."""
        ahead = words = 0
        while words < MAX_UNIT_WORDS:
            if self.kind(ahead) in {"over", "minus"} and self.kind(ahead + 1) == "word" and self._glued(ahead):
                ahead += 1  # $15/hour, 450-mile
            if self.kind(ahead) != "word":
                break
            for part in re.findall(r"[a-z]+", self.tokens[self.position + ahead].text.lower()):
                self.units |= {part.removesuffix("s"), part.removesuffix("es")}
            ahead += 1
            words += 1
        if ahead and self.kind(ahead) in OPERATORS | {"close", "end"}:
            self.position += ahead

    def _glued(self, ahead: int) -> bool:
        sign, word = self.tokens[self.position + ahead : self.position + ahead + 2]
        return sign.end == word.start
