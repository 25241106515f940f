"""The signs of written arithmetic: numbers, operators, brackets, units; in words, Markdown or LaTeX."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["Token", "tokenize"]

# A longer number is not one of a word problem, and powers of it would cost more than linear time.
MAX_DIGITS = 60

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


@dataclass(frozen=True)
class Token:
    """A sign with its place in the text; `value` where it is a number. `bad` is what spoils its neighbourhood."""

    kind: str
    start: int
    end: int
    text: str
    value: Fraction | None = None


def tokenize(text: str, offset: int = 0) -> list[Token]:
    """The signs of a text, without its spaces, currency signs and markup; `offset` is added to their places."""
    tokens: list[Token] = []
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
        tokens.append(Token(kind, match.start() + offset, match.end() + offset, piece, value))
    return _fractions(_multiplication_signs(tokens))


def _joins_digits(text: str, match: re.Match[str]) -> bool:
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    return match.group() in ":,." and before.isdigit() and after.isdigit()


def _fractions(tokens: list[Token]) -> list[Token]:
    """Read `28 / 1/5` as 28 divided by one fifth: the sign with spaces around it binds less."""
    result: list[Token] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        over, under = tokens[index + 1 : index + 3] if index + 2 < len(tokens) else (token, token)
        apart = bool(result) and result[-1].kind == "over" and result[-1].end < token.start
        glued = over.kind == "over" and token.end == over.start and over.end == under.start
        if apart and glued and token.value is not None and under.value:
            value = token.value / under.value
            result.append(Token("number", token.start, under.end, token.text + "/" + under.text, value))
            index += 3
            continue
        result.append(token)
        index += 1
    return result


def _multiplication_signs(tokens: list[Token]) -> list[Token]:
    """Read the letter x, and the word `of`, as a multiplication sign where it stands between two operands."""
    result: list[Token] = []
    for index, token in enumerate(tokens):
        if token.kind == "word" and token.text in {"x", "X", "of"}:
            before = tokens[index - 1].kind if index else "stop"
            after = tokens[index + 1].kind if index + 1 < len(tokens) else "stop"
            operand_after = after in {"number", "open", "frac"}
            operand_before = before in {"number", "percent", "close"} or (before == "word" and token.text != "of")
            if operand_after and operand_before:
                token = Token("times", token.start, token.end, token.text)
            elif token.text != "of":
                token = Token("bad", token.start, token.end, token.text)
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
