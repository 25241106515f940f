"""The arithmetic of a worked answer: every `a op b ... = c` in a text, read and checked exactly.

Written steps mix numbers with words: `$45 for shirts + $10 = $55`, `30 minutes x 5 days = 150 minutes`,
`20% of 50 = 10`, `\\frac{1}{4} \\times 180 = 45`, `48/2 = <<48/2=24>>24`. A small tokenizer and a parser by
precedence read them with fractions, never with `eval`. What cannot be read for certain (an unknown, a
power, a word where a number should be) is left out: to call a right step wrong is worse than to miss a
wrong one. Time is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from nlft.grade.numbers import find_numbers

__all__ = ["ANNOTATION", "Equation", "Number", "equations", "numbers"]

# A longer number is not one of a word problem, and powers of it would cost more than linear time.
MAX_DIGITS = 60
MAX_OPERANDS = 200
MAX_DEPTH = 20
MAX_UNIT_WORDS = 4

_TOKEN = re.compile(
    r"(?P<drop>\\?[$€£]|\\[\[\]()]|\\left(?![a-zA-Z])|\\right(?![a-zA-Z])|\\[,;:!]|\\q?quad(?![a-zA-Z])|\*\*|__|[`~])"
    r"|(?P<text>\\(?:text|mathrm|mbox)\s{0,3}\{[^{}]{0,200}\})"
    r"|(?P<frac>\\[dt]?frac(?![a-zA-Z]))"
    r"|(?P<times>\\times(?![a-zA-Z])|\\cdot(?![a-zA-Z])|[×✕✖∙·*])"
    r"|(?P<over>\\div(?![a-zA-Z])|[÷/])"
    r"|(?P<plus>\+)"
    r"|(?P<minus>[-−–])"
    r"|(?P<equals>=)"
    r"|(?P<open>[({])"
    r"|(?P<close>[)}])"
    r"|(?P<percent>\\?%)"
    r"|(?P<mixed>\d{1,9} (?:and )?\d{1,9}/\d{1,9}(?![\d/.]))"
    r"|(?P<number>\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"|(?P<word>[^\W\d_]+(?:['’][^\W\d_]+)?)"
    r"|(?P<space>[^\S\n]+)"
    r"|(?P<stop>.|\n)",
    re.DOTALL,
)
ANNOTATION = re.compile(r"<<([^<>\n]{0,300})>>")
_PERCENT = re.compile(r"\s?\\?%")
_LIST_MARK = re.compile(r"^[^\S\n]*(?:\d{1,3}[.)]|[-•])[^\S\n]+", re.MULTILINE)

# How many of the smallest unit of its kind one of these is; a step may convert on the way.
_UNITS: dict[str, tuple[str, Fraction]] = {
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


@dataclass(frozen=True)
class Number:
    """A number as it stands in a text; `percent` where a % sign follows it."""

    value: Fraction
    start: int
    end: int
    percent: bool = False

    @property
    def values(self) -> tuple[Fraction, ...]:
        """What it may stand for: 20% is 20 and 1/5."""
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


@dataclass(frozen=True)
class _Token:
    kind: str
    start: int
    end: int
    text: str
    value: Fraction | None = None


class _UnreadableError(Exception):
    """This piece is no arithmetic that can be read for certain."""


@dataclass
class _Run:
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
        kinds = [_UNITS[unit] for unit in self.units & _UNITS.keys()]
        return self.sums and len({size for _, size in kinds}) > len({kind for kind, _ in kinds})


def numbers(text: str) -> list[Number]:
    """Every number of a text, in its order; list marks such as `1.` and calculator annotations are no numbers."""
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
    found = list(_equations(_tokenize(_blank_annotations(text)), text))
    for match in ANNOTATION.finditer(text):
        inside = _tokenize(match.group(1), offset=match.start(1))
        # An annotation repeats the step it stands in: it counts by itself only where that step was not read.
        for equation in _equations(inside, text):
            if not any(other.start <= match.start() < other.end for other in found):
                found.append(equation)
    return sorted(found, key=lambda equation: equation.start)


def _blank_annotations(text: str) -> str:
    """Calculator annotations and list marks turned into blanks, so that all offsets stay true."""
    text = ANNOTATION.sub(lambda match: " " * len(match.group()), text)
    return _LIST_MARK.sub(lambda match: " " * len(match.group()), text)


def _tokenize(text: str, offset: int = 0) -> list[_Token]:
    tokens: list[_Token] = []
    for match in _TOKEN.finditer(text):
        kind, piece = match.lastgroup or "stop", match.group()
        if kind in {"space", "drop"}:
            continue
        value = None
        if kind in {"number", "mixed"}:
            kind, value = "number", _value(piece)
            if value is None:
                kind = "bad"
        elif kind == "text":
            kind = "word"
        elif kind == "word" and len(piece) == 1:
            glued = bool(tokens) and tokens[-1].kind == "number" and tokens[-1].end == match.start() + offset
            if piece not in {"x", "X"} and (glued or piece not in {"a", "A"}):
                kind = "bad"  # an unknown, as in 6b + b = 14
        elif kind == "stop" and (piece == "^" or _joins_digits(text, match)):
            kind = "bad"  # a power, a time of day, digits grouped in a way of their own
        tokens.append(_Token(kind, match.start() + offset, match.end() + offset, piece, value))
    return _fractions(_multiplication_signs(tokens))


def _joins_digits(text: str, match: re.Match[str]) -> bool:
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    return match.group() in ":,." and before.isdigit() and after.isdigit()


def _fractions(tokens: list[_Token]) -> list[_Token]:
    """Read `28 / 1/5` as 28 divided by one fifth: the sign with spaces around it binds less."""
    result: list[_Token] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        over, under = tokens[index + 1 : index + 3] if index + 2 < len(tokens) else (token, token)
        apart = bool(result) and result[-1].kind == "over" and result[-1].end < token.start
        glued = over.kind == "over" and token.end == over.start and over.end == under.start
        if apart and glued and token.value is not None and under.value:
            value = token.value / under.value
            result.append(_Token("number", token.start, under.end, token.text + "/" + under.text, value))
            index += 3
            continue
        result.append(token)
        index += 1
    return result


def _multiplication_signs(tokens: list[_Token]) -> list[_Token]:
    """Read the letter x, and the word `of`, as a multiplication sign where it stands between two operands."""
    result: list[_Token] = []
    for index, token in enumerate(tokens):
        if token.kind == "word" and token.text in {"x", "X", "of"}:
            before = tokens[index - 1].kind if index else "stop"
            after = tokens[index + 1].kind if index + 1 < len(tokens) else "stop"
            operand_after = after in {"number", "open", "frac"}
            operand_before = before in {"number", "percent", "close"} or (before == "word" and token.text != "of")
            if operand_after and operand_before:
                token = _Token("times", token.start, token.end, token.text)
            elif token.text != "of":
                token = _Token("bad", token.start, token.end, token.text)
        result.append(token)
    return result


def _value(piece: str) -> Fraction | None:
    piece = piece.replace(",", "")
    if len(piece) > MAX_DIGITS:
        return None
    if "/" in piece:
        whole, _, part = piece.replace("and ", "").partition(" ")
        over, _, under = part.partition("/")
        return Fraction(int(whole)) + Fraction(int(over), int(under)) if int(under) else None
    return Fraction(piece)


def _equations(tokens: list[_Token], text: str) -> Iterator[Equation]:
    """Pair the expression that ends at each equals sign with the one that begins behind it."""
    segments: list[list[_Token]] = [[]]
    for token in tokens:
        if token.kind == "equals":
            segments.append([])
        else:
            segments[-1].append(token)
    runs = [_runs(segment) for segment in segments]
    for index in range(len(segments) - 1):
        left_segment, right_segment = segments[index], segments[index + 1]
        left = runs[index][-1] if runs[index] else None
        right = runs[index + 1][0] if runs[index + 1] else None
        if left is None or right is None or left.spoiled or right.spoiled:
            continue
        if left.last != len(left_segment) or right.first != 0 or left.operators == 0 or left.mixes_units:
            continue
        yield _check(left, right, left_segment, right_segment, text)


def _check(left: _Run, right: _Run, left_segment: list[_Token], right_segment: list[_Token], text: str) -> Equation:
    start, middle = left_segment[left.first].start, left_segment[left.last - 1].end
    right_start, end = right_segment[0].start, right_segment[right.last - 1].end
    verdict: Literal["right", "wrong", "rounded"] = "wrong"
    lefts, rights = {left.plain, left.bare}, {right.plain, right.bare}
    if start and text[start - 1] in "$€£":
        start -= 1
    shown, written = text[right_start:end], text[start:middle]
    # The run-on `5 + 3 = 8 + 2 = 10` passes, and so does `3/3 - 2/3 = 1/3 of 150`: each number in it is right.
    run_on = right.head in lefts or (" of " in shown and bool(lefts & right.partial))
    if "$" in written:
        left.units.add("dollar")
    if "$" in text[max(0, right_start - 1) : end]:
        right.units.add("dollar")
    if _agree(lefts, rights, shown) or run_on or _converted(left, right):
        verdict = "right"
    elif right.operators == 0 and right.plain.denominator == 1 and abs(left.plain - right.plain) < 1:
        verdict = "rounded"
    return Equation(
        start,
        end,
        written.strip(),
        shown.strip(),
        left.plain,
        right.plain,
        verdict,
        frozenset(left.partial | right.partial),
    )


def _agree(lefts: set[Fraction], rights: set[Fraction], shown: str) -> bool:
    """Equal, or equal when rounded or cut to the decimals that are shown."""
    decimals = re.search(r"\.(\d+)", shown)
    tolerance = Fraction(1, 10 ** len(decimals.group(1))) if decimals else Fraction(0)
    return any(abs(a - b) < tolerance or a == b for a in lefts for b in rights)


def _converted(left: _Run, right: _Run) -> bool:
    """Whether a change of unit on the way (8 x 30 minutes = 4 hours) makes the two sides agree."""
    for before in left.units & _UNITS.keys():
        for after in right.units & _UNITS.keys():
            (kind, size), (other_kind, other_size) = _UNITS[before], _UNITS[after]
            if kind == other_kind and left.plain * size == right.plain * other_size:
                return True
    # 100 * 0.75 = $0.75: cents whose name is not written
    return ("dollar" in left.units) != ("dollar" in right.units) and left.plain in {
        right.plain * 100,
        right.plain / 100,
    }


def _runs(segment: list[_Token]) -> list[_Run]:
    """The expressions of a segment, from left to right."""
    runs: list[_Run] = []
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

    def __init__(self, tokens: Sequence[_Token], position: int) -> None:
        self.tokens, self.position, self.first = tokens, position, position
        self.depth = self.operands = self.operators = 0
        self.partial: set[Fraction] = set()
        self.units: set[str] = set()
        self.heads: list[Fraction] = []
        self.sums = False

    def run(self) -> _Run:
        plain, bare = self.expression()
        return _Run(
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
