r"""The tokens of written arithmetic: numbers, operators, brackets, units; in words, Markdown or LaTeX.

`nlft.grade.numbers` says how a number is written and what its value is. On purpose, four things that are part of a
number in an answer are not part of one here, for in a step they may be operations: a sign (`15 -5 = 10`), a fraction's
bar (`48/2 = 24`), `\frac`, and `x 10^3`. `1 and 1/4`, which no answer is written as, is a number here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import regex as re

from nlft.grade.numbers import DECIMAL, VULGAR_FRACTION, find_numbers, fold

# A longer number is not one of a word problem, and powers of it would cost more than linear time.
MAX_DIGITS = 60
OPERAND_STARTS = frozenset({"number", "open", "frac"})

_TOKEN = re.compile(
    rf"""
      (?P<drop> \\?[$€£] | \\[\[\]()] | \\(?:left|right|q?quad)(?![a-zA-Z]) | \\[,;:!] | \*\* | __ | [`~] )
    | (?P<text> \\(?:text|mathrm|mbox)\s{{0,3}}\{{[^{{}}]{{0,200}}\}} )
    | (?P<frac> \\[dt]?frac(?![a-zA-Z]) )
    | (?P<times> \\(?:times|cdot)(?![a-zA-Z]) | [×✕✖∙·*] )
    | (?P<over> \\div(?![a-zA-Z]) | [÷/] )
    | (?P<plus> \+ )
    | (?P<minus> - )
    | (?P<equals> = )
    | (?P<open> [({{] )
    | (?P<close> [)}}] )
    | (?P<percent> \\?% )
    | (?P<mixed> [0-9]{{1,9}}\x20(?:and\x20)?[0-9]{{1,9}}/[0-9]{{1,9}}(?![0-9/.]) )
    | (?P<number> {VULGAR_FRACTION} | {DECIMAL} )
    | (?P<word> [^\W\d_]+(?:'[^\W\d_]+)? )
    | (?P<space> [^\S\n]+ )
    | (?P<stop> .|\n )
    """,
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Token:
    """A token with its place in the text, and its `value` if a number. A `bad` one makes its neighbours unreadable."""

    kind: str
    start: int
    end: int
    text: str
    value: Fraction | None = None


def tokenize(text: str, offset: int = 0) -> list[Token]:
    """The tokens of a text, without its spaces, currency signs and markup; `offset` is added to their places."""
    tokens: list[Token] = []
    folded = fold(text)
    for match in _TOKEN.finditer(folded):
        kind, piece = match.lastgroup or "stop", match.group()
        if kind in {"space", "drop"}:
            continue
        value = None
        if kind in {"number", "mixed"}:
            value = _value(piece)
            kind = "bad" if value is None else "number"
        elif kind == "text":
            kind = "word"
        elif kind == "word" and len(piece) == 1:
            glued = bool(tokens) and tokens[-1].kind == "number" and tokens[-1].end == match.start() + offset
            if piece not in {"x", "X"} and (glued or piece not in {"a", "A"}):
                kind = "bad"  # an unknown, as in 6b + b = 14
        elif kind == "stop" and (piece == "^" or _joins_digits(folded, match)):
            kind = "bad"  # a power, a time of day, digits grouped in a way of their own
        tokens.append(Token(kind, match.start() + offset, match.end() + offset, piece, value))
    return _fractions(_multiplication_signs(tokens))


def _value(piece: str) -> Fraction | None:
    if len(piece) > MAX_DIGITS:
        return None
    number = next(find_numbers(piece.replace("and ", "")), None)
    return None if number is None else number.value


def _joins_digits(text: str, match: re.Match[str]) -> bool:
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    return match.group() in ":,." and before.isdigit() and after.isdigit()


def _multiplication_signs(tokens: list[Token]) -> list[Token]:
    """Read the letter x, and the word `of`, as a multiplication sign where it stands between two operands."""
    result: list[Token] = []
    for before, token, after in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
        if token.kind == "word" and token.text in {"x", "X", "of"}:
            kind = before.kind if before else "stop"
            operand_before = kind in {"number", "percent", "close"} or (kind == "word" and token.text != "of")
            if operand_before and after is not None and after.kind in OPERAND_STARTS:
                token = Token("times", token.start, token.end, token.text)
            elif token.text != "of":
                token = Token("bad", token.start, token.end, token.text)
        result.append(token)
    return result


def _fractions(tokens: list[Token]) -> list[Token]:
    """Read `28 / 1/5` as 28 divided by one fifth: the sign with spaces around it binds less."""
    result: list[Token] = []
    for token in tokens:
        if len(result) >= 3 and result[-1].kind == "over" and result[-3].kind == "over" and token.value:
            apart, top, bar = result[-3:]
            glued = top.end == bar.start and bar.end == token.start
            if apart.end < top.start and glued and top.value is not None:
                text = f"{top.text}/{token.text}"
                result[-2:] = [Token("number", top.start, token.end, text, top.value / token.value)]
                continue
        result.append(token)
    return result
