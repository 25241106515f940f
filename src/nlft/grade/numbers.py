r"""Numbers in text: where they are, and their exact values.

Read as one number: `1,234`, `1 234` (with a no-break or thin space), `1'234`, `1_234`, `1{,}234`, `1\,234`,
`1.234.567`, `1.234,56`; `18.00`, `.5`; `1/2`, `1 1/2`, `½`, `1½`, `\frac{1}{2}`; `1e3`, `2 x 10^3`; any of them after
a sign (every sign Unicode has for minus) and a currency sign, in any script's decimal digits.

Left out on purpose: a comma is never a decimal mark (`18,5` is 18 and 5) unless dots group the digits before
it; a per cent sign, a unit or a word changes no value (`50%` is 50, as in GSM8K's references); dates and
versions (`1/2/2024`, `3.1.4`) are no numbers; nothing is calculated (`10^3` is 10 and 3); words are not numbers.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import regex as re  # the standard library's `re` misreads possessive groups before Python 3.11.5

# A longer number is no answer, and arithmetic on it would not be linear in the length of the text.
MAX_DIGITS = 1000
WINDOW = 1 << 14
# Longer than the longest number that has a value, so that no such number is cut at a window's edge.
PREFIX = 16  # sign, currency and `\dfrac {` take fewer
MARGIN = 4 * MAX_DIGITS

VULGAR = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
MINUS = "‐‑‒–−﹣－➖⁻"  # the em dash is left out: it parts sentences
THIN = "\u2009"  # any space that groups digits is folded into it
FOLDED = {
    **{ord(sign): "-" for sign in MINUS},
    **{ord(space): THIN for space in "\u00a0\u2007\u2008\u200a\u202f"},
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F) if chr(code) not in MINUS},
    **{ord("⁄"): "/", ord("∕"): "/", ord("٫"): ".", ord("٬"): ",", ord("’"): "'"},
}
# Every number has at least one of these, and they are quick to find.
DIGIT = re.compile(rf"[\d{VULGAR}]")
FOREIGN = re.compile(rf"[{''.join(map(chr, FOLDED))}]|(?![0-9])\d")

# After one of these a hyphen joins words (COVID-19) and a point ends a sentence; scripts that write without
# spaces, such as Chinese, are left out.
LETTER = "0-9A-Za-zÀ-ɏͰ-ӿ"

# Possessive quantifiers (`++`) never give a digit back, so no text makes the search slower than linear.
# The pieces of the pattern are for `re.VERBOSE` and for folded text.
VULGAR_FRACTION = rf"(?: (?P<whole_v>[0-9]++) [\x20{THIN}]? )? (?P<vulgar>[{VULGAR}])"
DECIMAL = rf"""
    (?:
        (?P<dotted> [0-9]{{1,3}} (?: \.[0-9]{{3}} )++ (?: ,(?P<cents>[0-9]{{1,2}}) (?![0-9]) ) )      # 1.234,56
      | (?P<dots> [0-9]{{1,3}} (?: \.[0-9]{{3}} ){{2,}}+ (?! \.?[0-9] ) )                         # 1.234.567
      | (?P<version> [0-9]++ (?: \.[0-9]++ ){{2,}}+ )                                         # 3.1.4
      | (?P<grouped>
            [0-9]{{1,3}} (?P<by> ,\\! | \{{,\}} | \\, | [,{THIN}'_] ) [0-9]{{3}} (?: (?P=by) [0-9]{{3}} )*+
            (?![0-9])
        ) (?: \.(?P<grouped_part>[0-9]++) )?
      | (?P<plain>[0-9]++) (?: \.(?P<part>[0-9]++) )?
      | (?<![{LETTER}]) (?<!\.) \.(?P<bare>[0-9]++)
    )
"""
NUMBER = re.compile(
    rf"""
    (?P<sign> (?<![{LETTER}]) (?<![)\]}}%\-]) [-+] (?= [0-9.{VULGAR}\\] | (?<!\$[-+]) [$€£¥₹] ) )?+
    (?: \\?[$€£¥₹] \x20? )?+
    (?:
        (?P<none> [0-9]++ (?: /[0-9]++ ){{2,}}+ )                                         # 1/2/2024
      | (?: (?P<whole_f>[0-9]++) \x20? )? \\[dt]?frac \s?+
            (?: \{{ (?P<top>[0-9]++) \}} | (?P<top1>[0-9]) ) \s?+
            (?: \{{ (?P<bottom>[0-9]++) \}} | (?P<bottom1>[0-9]) )
      | {VULGAR_FRACTION}
      | (?: (?P<whole>[0-9]++) \x20 )? (?<![0-9.,/]) (?P<over>[0-9]++) / (?P<under>[0-9]++) (?! [./]?[0-9] )
      | {DECIMAL}
        (?:
            [eE] (?P<e>[-+]?[0-9]{{1,9}}) (?![0-9A-Za-z])
          | \x20? (?: [x×*] | \\times | \\cdot ) \x20? 10 \x20?
            (?: (?:\^|\*\*) \x20? \{{?+ (?P<power>-?[0-9]{{1,9}}) (?![0-9]) \}}?+ | (?P<raised>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]{{1,4}}) )
        )?
    )
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Number:
    """A number found in a text.

    Args:
        text: The piece of the text it was read from, verbatim.
        start: Where that piece begins.
        value: Its exact value; None for a number of more than MAX_DIGITS digits, or an exponent as large.
    """

    text: str
    start: int
    value: Fraction | None


def find_numbers(text: str, start: int = 0, end: int | None = None) -> Iterator[Number]:
    r"""Yield the numbers of text[start:end] from left to right; linear in its length.

    >>> [str(number.value) for number in find_numbers(r"$1,200.50, then −3½ and \frac{1}{3} on 1/2/2024")]
    ['2401/2', '-7/2', '1/3']
    """
    piece = text[start:end]
    for match in _matches(fold(piece)):
        if match["none"] or match["version"] or _divides_by_zero(match):
            continue
        yield Number(piece[match.start() : match.end()], start + match.start(), _value(match))


def first_number(text: str, start: int = 0) -> Number | None:
    """The first number at or after `start`, or None."""
    while digit := DIGIT.search(text, start):
        end = digit.start() + WINDOW
        for number in find_numbers(text, max(start, digit.start() - MARGIN), end + MARGIN):
            if number.start < end:
                return number
        start = end
    return None


def last_number(text: str) -> Number | None:
    """The last number of the text, or None; looks no further than it must, from the end.

    >>> last_number("So 3 + 4 = 7 apples.").text
    '7'
    """
    high = len(text)
    while high > 0:
        low = max(0, high - WINDOW)
        if DIGIT.search(text, max(0, low - PREFIX), high):  # a closing brace may be beyond the edge
            last = None
            for number in find_numbers(text, max(0, low - MARGIN), high + MARGIN):
                if low < number.start + len(number.text) <= high:
                    last = number
            if last is not None:
                return last
        high = low
    return None


def read_plain(digits: str) -> Fraction | None:
    """The value of what is nothing but an optional minus, digits and one optional point; else None.

    >>> read_plain("-18.50"), read_plain("1.2.3")
    (Fraction(-37, 2), None)
    """
    if len(digits) > MAX_DIGITS or re.fullmatch(r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)", digits) is None:
        return None
    return Fraction(digits.removesuffix("."))


def canonical(value: Fraction) -> str:
    """One way to write each value: an integer, a finite decimal, or a fraction in lowest terms.

    >>> canonical(Fraction(36, 2)), canonical(Fraction(-5, 4)), canonical(Fraction(1, 3))
    ('18', '-1.25', '1/3')
    """
    rest, places = value.denominator, [0, 0]
    for index, prime in enumerate((2, 5)):
        while rest % prime == 0:
            rest //= prime
            places[index] += 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    count = max(places)
    if count == 0:
        return str(value.numerator)
    digits = str(abs(value.numerator) * 10**count // value.denominator).zfill(count + 1)
    return f"{'-' if value < 0 else ''}{digits[:-count]}.{digits[-count:]}"


def _matches(text: str) -> Iterator[re.Match[str]]:
    """NUMBER.finditer(text), faster: every number begins at most PREFIX characters before its first digit."""
    position = 0
    while digit := DIGIT.search(text, position):
        match = NUMBER.search(text, max(position, digit.start() - PREFIX))
        if match is None:
            return
        yield match
        position = match.end()


def fold(text: str) -> str:
    """The same text, character for character, with every digit, minus, slash and grouping space in one form."""
    return text if text.isascii() else FOREIGN.sub(_fold_sign, text)


def _fold_sign(match: re.Match[str]) -> str:
    sign = match[0]
    folded = FOLDED.get(ord(sign))
    if folded is not None:
        return folded
    digit = unicodedata.decimal(sign, None)
    return sign if digit is None else str(digit)


def _value(match: re.Match[str]) -> Fraction | None:
    if len(match[0]) > MAX_DIGITS:
        return None
    size = _size(match)
    exponent = match["e"] or match["power"] or (match["raised"] or "").translate(SUPERSCRIPTS)
    if exponent:
        if abs(int(exponent)) > MAX_DIGITS:
            return None
        size *= Fraction(10) ** int(exponent)
    return -size if match["sign"] == "-" else size


def _divides_by_zero(match: re.Match[str]) -> bool:
    bottom = match["bottom"] or match["bottom1"] or match["under"] or "1"
    return not bottom.strip("0")


def _size(match: re.Match[str]) -> Fraction:
    """The absolute value, before an exponent."""
    if match["vulgar"]:
        top, _, bottom = unicodedata.normalize("NFKC", match["vulgar"]).partition("⁄")
        return Fraction(match["whole_v"] or 0) + Fraction(int(top), int(bottom))
    if match["over"]:
        return Fraction(match["whole"] or 0) + Fraction(int(match["over"]), int(match["under"]))
    top, bottom = match["top"] or match["top1"], match["bottom"] or match["bottom1"]
    if top:
        return Fraction(match["whole_f"] or 0) + Fraction(int(top), int(bottom))
    if match["dotted"]:
        return Fraction(match["dotted"].partition(",")[0].replace(".", "") + "." + match["cents"])
    if match["dots"]:
        return Fraction(match["dots"].replace(".", ""))
    if match["grouped"]:
        return Fraction(re.sub(r"[^0-9]", "", match["grouped"]) + "." + (match["grouped_part"] or "0"))
    if match["bare"]:
        return Fraction("0." + match["bare"])
    return Fraction(match["plain"] + "." + (match["part"] or "0"))
