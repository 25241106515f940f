"""Graders that compare a number: GSM8K's strict and flexible conventions, `number`, and the NLFT authors'."""

from __future__ import annotations

import re
from fractions import Fraction

from nlft.errors import DataError
from nlft.grade.numbers import Number, canonical, first_number, last_number, read_plain
from nlft.records import Verdict

MARKER = "####"
# GSM8K's own pattern (`ANS_RE` in its authors' grading code): one space, ASCII digits, no currency sign.
OFFICIAL = re.compile(r"#### (-?[0-9.,]+)")
# As text: thousands' commas are removed before.
DIGITS = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
SHOWN = 200  # characters of an extracted piece that a verdict keeps


def reference_value(reference: str) -> Fraction:
    r"""The standard answer's number: the first after its last `####`, else the last in its last `\\boxed{}`, else its last.

    >>> reference_value("She sold 48/2 = 24 clips.\n#### 1,072"), reference_value("so 3 in all")
    (Fraction(1072, 1), Fraction(3, 1))

    Raises:
        DataError: when there is no number, one of more digits than are read (see `nlft.grade.numbers`), or
            one with a decimal comma, which a response could not be compared with.
    """
    mark = reference.rfind(MARKER)
    inside = boxed(reference) if mark < 0 else None
    if mark >= 0:
        reference = reference[mark + len(MARKER) :]
        found = first_number(reference)
    else:
        reference = inside if inside is not None else reference
        found = last_number(reference)
    if found is None or found.value is None:
        raise DataError(
            "no number can be read from the reference",
            remedy="end the reference in `#### number`, or choose another grader, such as exact",
        )
    before, after = reference[: found.start], reference[found.start + len(found.text) :]
    # 18,5 is read as 18 and 5: half of the answer would be compared with.
    if re.search(r"[0-9],\Z", before[-2:]) or re.match(r",[0-9]", after):
        raise DataError(
            f"the comma beside {found.text} in the reference may be a decimal one",
            remedy="write decimals with a point (18.5) and thousands as 1234 or 1,234, or choose another grader, such as exact",
        )
    return found.value


def strict(response: str, reference: str) -> Verdict:
    r"""The official form: the first match of GSM8K's own pattern `#### (\-?[0-9\.\,]+)`.

    Commas and a closing point are removed, and what is left is compared as an exact number, so that
    18.00 is 18. Everything the pattern does not match is wrong: no marker, two spaces after it, a
    dollar sign before the number, a full-width digit.

    >>> strict("... #### 18.00", "#### 18").correct, strict("... #### $18", "#### 18").correct
    (True, False)

    Source: Cobbe et al. 2021, openai/grade-school-math (which compares the strings, not the numbers).
    """
    wanted = reference_value(reference)
    match = OFFICIAL.search(response)
    if match is None:
        after = response.find(MARKER)
        reason = "no #### in the response" if after < 0 else "#### is not followed by one space and a number"
        return Verdict(correct=False, reason=reason if response.strip() else "the response is empty")
    value = read_plain(match[1].replace(",", "").rstrip("."))
    return _compare(value, match[1], wanted, "what follows #### is no number")


def flexible(response: str, reference: str) -> Verdict:
    """The last number anywhere in the response, whatever is around it.

    >>> flexible("That makes $18.00 a day.", "#### 18").correct
    True

    Source: the convention of `flexible-extract` in EleutherAI's lm-evaluation-harness; what counts as
    one number is `nlft.grade.numbers`.
    """
    wanted = reference_value(reference)
    return _found(last_number(response), response, wanted)


def number(response: str, reference: str) -> Verdict:
    r"""The number in the last `\\boxed{}`; else the first after the last `####`; else the last number.

    >>> number(r"Two ways: \boxed{18}. I checked it 3 times.", "18").correct
    True
    """
    wanted = reference_value(reference)
    inside = boxed(response)
    if inside is not None and (found := last_number(inside)) is not None:
        return _found(found, response, wanted)
    mark = response.rfind(MARKER)
    if mark >= 0 and (found := first_number(response, mark + len(MARKER))) is not None:
        return _found(found, response, wanted)
    return _found(last_number(response), response, wanted)


def authors(response: str, reference: str) -> Verdict:
    """The first number after the first `####`, else the last number, compared as text: 18.0 is not 18.

    What counts as a number is ours: ASCII digits, thousands' commas removed.

    >>> [authors(response, "#### 18").correct for response in ("#### $18 of 20", "so 18", "#### 18.0")]
    [True, True, False]

    Raises:
        DataError: when there is no number in the reference.

    Source: the grader of the released code of arXiv 2412.20382.
    """
    wanted, found = _as_text(reference), _as_text(response)
    if wanted is None:
        raise DataError("no number can be read from the reference", remedy="end the reference in `#### number`")
    if found is None:
        reason = "no number in the response" if response.strip() else "the response is empty"
        return Verdict(correct=False, reason=reason)
    reason = f"is the reference's {wanted}" if found == wanted else f"the reference says {wanted}"
    return Verdict(correct=found == wanted, value=found[:SHOWN], extracted=found[:SHOWN], reason=reason[:SHOWN])


def _as_text(text: str) -> str | None:
    plain = text.replace(",", "")
    after = DIGITS.search(plain.partition(MARKER)[2])
    found = [after[0]] if after is not None else DIGITS.findall(plain)
    return found[-1] if found else None


def boxed(text: str) -> str | None:
    r"""What is in the last `\\boxed{...}` whose brace closes, nested braces included; else None.

    >>> boxed(r"so \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
    """
    opening = r"\boxed{"
    start = text.rfind(opening)
    if start < 0:
        return None
    depth = 1
    for brace in re.finditer(r"[{}]", text[start + len(opening) :]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[start + len(opening) : start + len(opening) + brace.start()]
    return None


def _found(found: Number | None, response: str, wanted: Fraction) -> Verdict:
    if found is None:
        reason = "no number in the response" if response.strip() else "the response is empty"
        return Verdict(correct=False, reason=reason)
    return _compare(found.value, found.text, wanted, "the number is too long to be an answer")


def _compare(value: Fraction | None, extracted: str, wanted: Fraction, unread: str) -> Verdict:
    extracted = extracted[:SHOWN]
    if value is None:
        return Verdict(correct=False, extracted=extracted, reason=unread)
    correct = value == wanted
    reason = f"equals the reference's {canonical(wanted)}" if correct else f"the reference says {canonical(wanted)}"
    return Verdict(correct=correct, value=canonical(value), extracted=extracted, reason=reason)
