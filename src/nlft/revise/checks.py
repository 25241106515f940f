"""Which answers of a student that was shown more than the question may be trained on."""

from __future__ import annotations

import re
from fractions import Fraction

from nlft.records import Graded
from nlft.revise.ways import MARK, final_answer
from nlft.steps.arithmetic import equations, numbers

# A student that speaks of what it was shown. "The final answer is 7" is a way to end, and no leak.
LEAK = re.compile(
    r"\b(?:(?:standard|correct|given|provided|right|expected|known|target) (?:final )?(?:answer|solution|result)"
    r"|(?:final )?answer (?:is |was |has been )?(?:already )?(?:given|provided|known)|given (?:that )?the final answer"
    r"|(?:previous|original|earlier|first|weak|wrong|incorrect|student'?s|above) (?:response|answer|solution|attempt)"
    r"|(?:the|this|that|your|my|a) (?:response|judg(?:e)?ment|hint|feedback|mistake|error)"
    r"|(?:was|were) judged|judged as|(?:is|was|are) (?:incorrect|wrong)|you are (?:correct|right)|correction|corrected"
    r"|apologi[sz]e|solution begins|first steps? (?:is|are|was|were) given|leads? to this answer)\b",
    re.IGNORECASE,
)


def closed(response: str, finish_reason: str | None) -> tuple[str, str | None]:
    """The response up to the end of its first line with `####`, and how it ended: what follows the answer is idle talk.

    >>> closed("2 + 5 = 7" + chr(10) + "#### 7" + chr(10) + "The answer is", "length")
    ('2 + 5 = 7\\n#### 7', 'stop')
    """
    head, mark, rest = response.partition(MARK)
    answer, ended, _ = rest.partition("\n")
    return (head + mark + answer.rstrip(), "stop") if answer.strip() and ended else (response, finish_reason)


def in_form(response: str, answer: str) -> str:
    """A right response with its answer on a last line of its own, behind `####`; other lines with that mark go.

    >>> in_form("####" + chr(10) + "She has 2 + 5 = 7 pens.", "7")
    'She has 2 + 5 = 7 pens.\\n#### 7'
    """
    lines = response.strip().splitlines()
    if lines and re.fullmatch(MARK + r" \S.*\d.*", lines[-1]) and response.count(MARK) == 1:
        return response.strip()
    return "\n".join([*(line for line in lines if not line.startswith(MARK)), f"{MARK} {answer}"]).strip()


def refusal(row: Graded, *, shortest: float = 0.6) -> str | None:
    """Why a candidate is not kept; None if it is.

    A number as final answer must be the result of an equation where the standard answer works it out in equations, or
    shows no working at all; and it may not be stated before that equation, unless the question states it.

    Args:
        row: The candidate, graded.
        shortest: The least length, as a share of the standard answer's.
    """
    if row.finish_reason == "length":
        return "cut off"
    if not row.verdict.correct:
        return "wrong"
    if any(equation.verdict != "right" for equation in equations(row.response)):
        return "false equation"
    if len(row.response.strip()) < shortest * len(row.reference.strip()):
        return "too short"
    if LEAK.search(row.response):
        return "leak"
    if row.response.split() == row.reference.split():
        return "copy"
    return _underived(row)


def shows_working(reference: str) -> bool:
    """Whether a standard answer holds more than its final answer.

    >>> shows_working("#### 7"), shows_working("2 + 5 = 7" + chr(10) + "#### 7")
    (False, True)
    """
    return re.search(r"\w", reference.replace(final_answer(reference), "", 1)) is not None


def _underived(row: Graded) -> str | None:
    answer = final_answer(row.reference)
    value = _number(answer)
    worked = any(equation.right == value for equation in equations(row.reference))
    if value is None or not (worked or not shows_working(row.reference)):
        return None
    step = next((equation for equation in equations(row.response) if equation.right == value), None)
    if step is None:
        return "underived"
    before = any(value in n.values for n in numbers(row.response) if n.start < step.start)
    asked = any(value in n.values for n in numbers(row.question))
    return "answer first" if before and not asked else None


def _number(text: str) -> Fraction | None:
    """The number in a text that holds exactly one."""
    found = numbers(text)
    return found[0].value if len(found) == 1 else None
