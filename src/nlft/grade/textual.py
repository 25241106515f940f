"""Graders that compare a choice or a text."""

from __future__ import annotations

import re

from nlft.errors import DataError
from nlft.grade.numeric import MARKER, boxed
from nlft.records import Verdict

SHOWN = 200
TAIL = 200_000  # characters from the end that are searched for an announced choice
# "the answer is (B)", "Answer: **B**", "Option C" at the end of what announces an answer.
ANNOUNCED = re.compile(
    r"\b(?:answer|choice|option)\b(?:\x20(?:is|would\x20be))?[\x20:*\n]{0,8}[(\[{\"'*]{0,4}([A-Z])(?![A-Za-z0-9'’])"
    r"|\((?P<round>[A-Z])\)",
    re.IGNORECASE,
)
ALONE = re.compile(r"^[\x20*(\[\"'$]{0,8}([A-Z])[\x20*)\].:\"'$]{0,8}$", re.MULTILINE)
LEADING = re.compile(r"[\s*(\[\"'$]{0,16}([A-Za-z])(?![A-Za-z0-9'’])")


def choice(response: str, reference: str) -> Verdict:
    r"""One letter of a multiple choice.

    The response's letter is, in this order: the one in the last `\\boxed{}`; the first after the last
    `####`; the last announced ("the answer is B", "Option B", "(B)"); the last on a line of its own.

    >>> choice("I think the answer is (B).", "B").correct, choice("A good question.", "A").correct
    (True, False)

    Raises:
        DataError: when the reference (after its last `####`) does not begin with a letter that stands alone.
    """
    wanted = LEADING.match(reference.rpartition(MARKER)[2])
    if wanted is None:
        raise DataError("no choice can be read from the reference", remedy="make the reference one letter, such as B")
    letter = wanted[1].upper()
    found = _chosen(response)
    if found is None:
        return Verdict(
            correct=False, reason="no choice in the response" if response.strip() else "the response is empty"
        )
    value, extracted = found
    reason = f"is the reference's {letter}" if value == letter else f"the reference says {letter}"
    return Verdict(correct=value == letter, value=value, extracted=extracted[:SHOWN], reason=reason)


def exact(response: str, reference: str) -> Verdict:
    """The same text, after the last `####` of each (else as a whole); runs of white space count as one space.

    >>> exact("The capital is... #### New  York", "New York").correct, exact("new york", "New York").correct
    (True, False)
    """
    wanted, given = _answer_text(reference), _answer_text(response)
    if not given:
        return Verdict(correct=False, reason="the response is empty")
    correct = given == wanted
    reason = "equals the reference" if correct else f"the reference says {_short(wanted)}"
    return Verdict(correct=correct, value=_short(given), extracted=_short(given), reason=reason)


def _chosen(response: str) -> tuple[str, str] | None:
    for marked in (boxed(response), response.rpartition(MARKER)[2] if MARKER in response else None):
        if marked is not None and (match := LEADING.match(marked)):
            return match[1].upper(), match[0].strip()
    last, response = None, response[-TAIL:]
    for match in ANNOUNCED.finditer(response):
        letter = match[1] or match["round"]
        if letter.isupper():
            last = letter, match[0]
    if last is None:
        for match in ALONE.finditer(response):
            last = match[1], match[0]
    return last


def _answer_text(text: str) -> str:
    return " ".join(text.rpartition(MARKER)[2].split())


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
