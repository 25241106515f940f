"""Arithmetic expressions between words, found and evaluated with fractions by a parser by precedence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from nlft.judge.tokens import Token

__all__ = ["UNITS", "Expression", "expressions"]

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
    """One arithmetic expression found in a segment between two equals signs."""

    first: int
    last: int  # exclusive
    plain: Fraction  # with 20% as 1/5
    bare: Fraction  # with 20% as 20
    operators: int
    head: Fraction
    partial: set[Fraction]
    units: set[str]
    sums: bool = False
    spoiled: bool = False

    @property
    def mixes_units(self) -> bool:
        """Whether it adds or subtracts amounts in several units of one kind, as in 4 pounds - 6 ounces."""
        kinds = [UNITS[unit] for unit in self.units & UNITS.keys()]
        return self.sums and len({size for _, size in kinds}) > len({kind for kind, _ in kinds})


def expressions(segment: list[Token]) -> list[Expression]:
    """The expressions of a segment, from left to right."""
    runs: list[Expression] = []
    position = 0
    while position < len(segment):
        before = segment[position - 1].kind if position else "stop"
        if segment[position].kind not in {"number", "open", "frac", "minus"}:
            position += 1
            continue
        parser = _Parser(segment, position)
        try:
            run = parser.run()
        except (_UnreadableError, ZeroDivisionError):
            position = max(position, parser.position) + 1
            continue
        after = segment[run.last].kind if run.last < len(segment) else "stop"
        after = "bad" if after == "number" else after  # 80 000
        dangling = after in {"plus", "times", "over", "minus"} and not (
            after == "minus" and run.last + 1 < len(segment) and segment[run.last + 1].kind == "word"
        )
        run.spoiled = (
            before in {"plus", "times", "over", "minus", "bad", "percent", "number"} or after == "bad" or dangling
        )
        runs.append(run)
        position = run.last
    return runs


class _Parser:
    """expression := term (± term)*; term := factor ((*|/) factor)*; factor := -factor | group | fraction | number."""

    def __init__(self, tokens: Sequence[Token], position: int) -> None:
        self.tokens, self.position, self.first = tokens, position, position
        self.depth = self.operands = self.operators = 0
        self.partial: set[Fraction] = set()
        self.units: set[str] = set()
        self.heads: list[Fraction] = []
        self.sums = False

    def run(self) -> Expression:
        plain, bare = self.expression()
        return Expression(
            self.first,
            self.position,
            plain,
            bare,
            self.operators,
            self.heads[0],
            self.partial | {plain},
            self.units,
            self.sums,
        )

    def kind(self, ahead: int = 0) -> str:
        index = self.position + ahead
        return self.tokens[index].kind if index < len(self.tokens) else "end"

    def expression(self) -> tuple[Fraction, Fraction]:
        plain, bare = self.term()
        while self.kind() in {"plus", "minus"} and self.kind(1) in {"number", "open", "frac"}:
            sign = 1 if self.kind() == "plus" else -1
            self.position += 1
            self.operators += 1
            self.sums = True
            more, more_bare = self.term()
            plain, bare = plain + sign * more, bare + sign * more_bare
            self.partial.add(plain)
        return plain, bare

    def term(self) -> tuple[Fraction, Fraction]:
        plain, bare = self.factor()
        while True:
            if self.kind() in {"times", "over"} and self.kind(1) in {"number", "open", "frac"}:
                times = self.kind() == "times"
                self.position += 1
            elif self.kind() == "open" and self.tokens[self.position - 1].end == self.tokens[self.position].start:
                times = True  # 2(3 + 4)
            else:
                return plain, bare
            self.operators += 1
            more, more_bare = self.factor()
            plain = plain * more if times else plain / more
            bare = bare * more_bare if times else bare / more_bare
            self.partial.add(plain)

    def factor(self) -> tuple[Fraction, Fraction]:
        if self.depth >= MAX_DEPTH or self.operands >= MAX_OPERANDS:
            raise _UnreadableError
        self.depth += 1
        if self.kind() == "minus":
            self.position += 1
            plain, bare = self.factor()
            plain, bare = -plain, -bare
        elif self.kind() == "frac":
            self.position += 1
            (over, over_bare), (under, under_bare) = self.group(), self.group()
            self.operators += 1
            plain, bare = over / under, over_bare / under_bare
        elif self.kind() == "open":
            plain, bare = self.group()
        else:
            plain, bare = self.number()
        self.depth -= 1
        self.skip_units()
        return plain, bare

    def group(self) -> tuple[Fraction, Fraction]:
        if self.kind() != "open":
            raise _UnreadableError
        self.position += 1
        value = self.expression()
        if self.kind() != "close":
            raise _UnreadableError
        self.position += 1
        return value

    def number(self) -> tuple[Fraction, Fraction]:
        value = self.tokens[self.position].value if self.kind() == "number" else None
        if value is None:
            raise _UnreadableError
        self.position += 1
        self.operands += 1
        self.heads.append(value)
        plain = value
        if self.kind() == "percent":
            self.position += 1
            plain = value / 100
        self.partial.update({plain, value})
        return plain, value

    def skip_units(self) -> None:
        """Pass over the words behind an operand where an operator, a bracket or the end of the segment follows."""
        ahead, words = 0, 0
        seen: set[str] = set()
        while words < MAX_UNIT_WORDS:
            slash = self.kind(ahead) in {"over", "minus"} and self.kind(ahead + 1) == "word"  # $15/hour, 450-mile
            if slash and self._glued(ahead):
                ahead += 1
            if self.kind(ahead) != "word":
                break
            word = self.tokens[self.position + ahead].text.strip("\\{} ").lower()
            seen |= {part.removesuffix("s") for part in re.findall(r"[a-z]+", word)} | {
                part.removesuffix("es") for part in re.findall(r"[a-z]+", word)
            }
            ahead += 1
            words += 1
        if ahead:
            self.units |= seen
            if self.kind(ahead) in {"plus", "minus", "times", "over", "close", "end"}:
                self.position += ahead

    def _glued(self, ahead: int) -> bool:
        sign, word = self.tokens[self.position + ahead], self.tokens[self.position + ahead + 1]
        return sign.end == word.start
