"""Wrong responses generated from worked solutions: one wrong step, carried through to the final answer.

The exact characters of the error are known, and every later step follows from it correctly, so the first wrong step is
the only one. A slip miscalculates: its step is a false equation. A misreading does the wrong thing and calculates it
correctly, as someone does who misunderstands the problem: only the problem shows that its step is wrong.
"""

from __future__ import annotations

import math
import re
from random import Random
from typing import NamedTuple

from nlft.grade.numbers import canonical
from nlft.steps.arithmetic import Equation, equations, numbers

MARK = "\n#### "
# The operations that a misreading puts in place of one.
CONFUSED = {"+": "-*", "-": "+", "*": "+", "/": "*-"}
LARGEST = 2000  # what a misreading may lead to


class Slip(NamedTuple):
    """A wrong response, and the characters of its one wrong step."""

    response: str
    start: int
    end: int


def slip(solution: str, rng: Random) -> Slip | None:
    """Miscalculate one step of a worked solution that ends in `#### number`, and carry the error to the answer.

    The errors are those seen in small models: a digit off by one (in the ones or the tens, like a forgotten carry),
    a sum or difference in place of another operation, and two digits swapped.

    >>> slip("47 + 86 = 133\\n133 - 25 = 108\\n#### 108", Random(2)).response
    '47 + 86 = 134\\n134 - 25 = 109\\n#### 109'

    Returns:
        None where no step leads to another answer in whole, non-negative numbers.
    """
    body, mark, answer = solution.rpartition(MARK)
    steps = [step for step in equations(body) if step.verdict == "right" and step.right.denominator == 1]
    if not mark or not steps:
        return None
    for step in rng.sample(steps, len(steps)):
        for wrong in _wrong_values(step, rng):
            carried = _carry(body, answer, step, wrong)
            if carried is not None:
                return carried
    return None


def _wrong_values(step: Equation, rng: Random) -> list[int]:
    right = int(step.right)
    values = [right + off for off in (1, -1, 10, -10)]
    parts = [number.value for number in numbers(step.left_text)]
    if len(parts) == 2 and all(part.denominator == 1 for part in parts):
        values += [int(parts[0] + parts[1]), int(parts[0] - parts[1])]
    digits = str(abs(right))
    if len(digits) > 1 and digits[-1] != digits[-2]:
        values.append(int(digits[:-2] + digits[-1] + digits[-2]))
    values = [value for value in dict.fromkeys(values) if value >= 0 and value != right]
    return rng.sample(values, len(values))


def misreading(solution: str, rng: Random) -> Slip | None:
    """Put another operation in one step of a worked solution that ends in `#### number`, and carry its result on.

    >>> misreading("47 + 86 = 133\\n133 - 25 = 108\\n#### 108", Random(1)).response
    '47 - 86 = -39\\n-39 - 25 = -64\\n#### -64'

    Returns:
        None where no step leads to another answer in whole numbers.
    """
    body, mark, answer = solution.rpartition(MARK)
    steps = [step for step in equations(body) if step.verdict == "right"]
    if not mark or not steps:
        return None
    for step in rng.sample(steps, len(steps)):
        sign = re.search(r" ([-+*/]) ", body[step.start : body.rindex("=", step.start, step.end)])
        if sign is None:
            continue
        place, others = step.start + sign.start(1), CONFUSED[sign[1]]
        for other in rng.sample(others, len(others)):
            changed = body[:place] + other + body[place + 1 :]
            found = _consequences(changed, step.start, answer, answer, (-LARGEST, LARGEST))
            if found is not None:
                text, final = found
                wrong = next(each for each in equations(text) if each.start == step.start)
                return Slip(text + MARK + final, wrong.start, wrong.end)
    return None


def _carry(body: str, answer: str, step: Equation, wrong: int) -> Slip | None:
    """Write the wrong value, and its consequences into all that follows; None where they do not reach the answer."""
    written = _set_right_side(body, step, wrong)
    if written is None:
        return None
    if canonical(step.right) in {canonical(n.value) for n in numbers(body[: body.rindex("=", step.start, step.end)])}:
        return None  # a later step could mean either of the two
    text, end = written
    text = text[:end] + _replaced(text[end:], str(int(step.right)), str(wrong))
    found = _consequences(text, end, str(wrong) if answer == str(int(step.right)) else answer, answer, (0, math.inf))
    if found is None:
        return None
    first = [each for each in equations(found[0]) if each.verdict != "right"]
    if len(first) != 1 or first[0].start != step.start:
        return None
    return Slip(found[0] + MARK + found[1], first[0].start, first[0].end)


def _consequences(text: str, end: int, final: str, answer: str, within: tuple[float, float]) -> tuple[str, str] | None:
    """Correct every equation from `end` on, and what follows from it; None where it ends in the right answer."""
    while (wronged := next((e for e in equations(text) if e.start >= end and e.verdict != "right"), None)) is not None:
        if (
            wronged.left.denominator != 1
            or wronged.right.denominator != 1
            or not within[0] <= wronged.left <= within[1]
        ):
            return None
        old, new = str(int(wronged.right)), canonical(wronged.left)
        written = _set_right_side(text, wronged, int(wronged.left))
        if written is None or written[1] <= end:
            return None
        text, after = written
        text = text[:after] + _replaced(text[after:], old, new)
        final, end = (new if final == old else final), after
    return None if final == answer else (text, final)


def _set_right_side(text: str, step: Equation, value: int) -> tuple[str, int] | None:
    """The text with another number as the equation's right side, and the offset behind it; None where it is no number."""
    from_right = text.rindex("=", step.start, step.end)
    number = next((n for n in numbers(text) if from_right <= n.start < step.end), None)
    if number is None or number.value != step.right:
        return None
    start = number.end - len(_bare(text[number.start : number.end]))  # "£8" stays in pounds
    return text[:start] + str(value) + text[number.end :], start + len(str(value))


def _replaced(text: str, old: str, new: str) -> str:
    """Every number `old` of the text as `new`."""
    for number in reversed(numbers(text)):
        start = number.end - len(_bare(text[number.start : number.end]))
        if text[start : number.end] == old:
            text = text[:start] + new + text[number.end :]
    return text


def _bare(number: str) -> str:
    return number.lstrip("$€£ ")
