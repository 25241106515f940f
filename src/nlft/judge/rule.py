"""The `rule` judge: words from the standard solution and the response's own arithmetic, without a model.

It names, in this order, the first step that is calculated wrongly, the first departure from the standard
solution (or the step that is missing), and what is wrong with the final answer. It quotes the response
word for word, because on the judge path these words are there to make the faulty tokens likelier
(method §3). It needs no key, costs nothing, and gives the same words every time.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from nlft.errors import DataError
from nlft.grade.numbers import canonical, last_number
from nlft.grade.numeric import reference_value
from nlft.records import Graded
from nlft.steps.arithmetic import ANNOTATION, Equation, Number, equations, numbers

P = TypeVar("P", Equation, Number)

QUOTE_LENGTH = 160
# Beyond this it is no longer a worked answer but a loop.
READ_LENGTH = 100_000

# Everyday counts that a solver may use although no question states them.
_EVERYDAY = frozenset(map(Fraction, (0, 1, 2, 4, 7, 10, 12, 24, 30, 52, 60, 100, 365, 1000, 3600)))
_SPOKEN = {
    word: Fraction(str(value))
    for word, value in {
        "half": "1/2", "third": "1/3", "thirds": "1/3", "quarter": "1/4", "quarters": "1/4", "fourth": "1/4",
        "fifth": "1/5", "sixth": "1/6", "eighth": "1/8", "tenth": "1/10", "once": 1, "one": 1, "single": 1, "twice": 2,
        "double": 2, "doubled": 2, "doubles": 2, "two": 2, "pair": 2, "couple": 2, "both": 2, "three": 3, "thrice": 3,
        "triple": 3, "tripled": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
        "eleven": 11, "twelve": 12, "dozen": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50,
        "hundred": 100, "thousand": 1000, "million": 1000000,
    }.items()
}  # fmt: skip
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\bMr\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bMrs\.)[^\S\n]+(?=[A-Z(\"“])")


@dataclass(frozen=True)
class _Step:
    """One sentence of a worked answer, with what it computes."""

    text: str
    start: int
    found: tuple[Equation, ...]
    stated: tuple[tuple[Fraction, ...], ...]

    @property
    def result(self) -> Fraction | None:
        """The number the step arrives at."""
        if self.found:
            return self.found[-1].right
        return self.stated[-1][0] if self.stated else None


def rule_judgment(row: Graded) -> str:
    """What is wrong with an incorrect response, in two to four sentences.

    Args:
        row: A graded attempt; its `verdict` gives the final answer that was read from the response.

    Returns:
        The judgment. For references without numbers it names the two final answers.
    """
    steps, solution = _steps(row.response[:READ_LENGTH]), _steps(row.reference)
    words: list[str] = []
    wrong = next(((step, e) for step in steps for e in step.found if e.verdict == "wrong"), None)
    departure = None
    worked = _is_worked(solution, _wanted(row))
    if worked:
        departure = _departure(row.question, steps, solution, until=wrong[1].start if wrong else None)
    if departure is not None:
        words.append(departure)
    if wrong is not None:
        words.append(_miscalculated(*wrong))
    if not words:
        words.extend(_rounding(steps))
        if worked:
            words.extend(_missing(row, steps, solution, rounded=bool(words)))
    words.append(_final(row))
    return " ".join(words)


def _miscalculated(step: _Step, equation: Equation) -> str:
    percent = "%" in equation.right_text
    value = _show(equation.left * 100) + "%" if percent else _show(equation.left)
    return (
        f"The calculation goes wrong at {_quote(step, equation)}: "
        f"{_flat(equation.left_text)} is {value}, not {_flat(equation.right_text)}."
    )


def _departure(question: str, steps: Sequence[_Step], solution: Sequence[_Step], until: int | None) -> str | None:
    """The first number before offset `until` that neither question nor standard solution account for."""
    known = _known(question, solution)
    before: set[Fraction] = set()
    for step in steps:
        for equation in step.found:
            if until is not None and equation.start >= until:
                return None
            if equation.right not in known and equation.verdict != "wrong":
                return _departs(step, equation, equation.right, solution, before)
            before.add(equation.right)
        if not step.found:
            for values in step.stated:
                if not known.intersection(values) and not _EVERYDAY.intersection(values):
                    return _departs(step, None, values[0], solution, before)
                before.update(values)
    return None


def _departs(
    step: _Step, equation: Equation | None, value: Fraction, solution: Sequence[_Step], before: set[Fraction]
) -> str:
    words = (
        f"It departs from the standard solution at {_quote(step, equation)}: the {_show(value)} does not belong there"
    )
    upcoming = _next_step(solution, before)
    return f"{words}; the step to take is {_quote(upcoming)}." if upcoming else f"{words}."


def _rounding(steps: Sequence[_Step]) -> Iterator[str]:
    """For a response that calculates nothing wrongly: the first step that it rounds."""
    for step in steps:
        for equation in step.found:
            if equation.verdict == "rounded":
                exact = f"{_flat(equation.left_text)} is exactly {_show(equation.left)}"
                yield f"It rounds at {_quote(step, equation)}: {exact}."
                return


def _missing(row: Graded, steps: Sequence[_Step], solution: Sequence[_Step], rounded: bool) -> Iterator[str]:
    """For a response whose numbers all fit: the step of the standard solution that is missing."""
    reached = {value for step in steps for values in step.stated for value in values}
    reached |= {equation.right for step in steps for equation in step.found}
    upcoming = _next_step(solution, reached)
    if upcoming is not None:
        begun = "leaves out" if steps else "gives no steps; it leaves out"
        yield f"The response {begun} the step {_quote(upcoming)}."
    elif _wanted(row) in reached and not rounded:
        yield "Its steps reach the right numbers, but the final answer does not follow from them."


def _final(row: Graded) -> str:
    """The final answers side by side."""
    right = _wanted(row)
    broken_off = row.finish_reason == "length" and "####" not in row.response
    given = None if broken_off else _given(row)
    wanted = _show(right) if right is not None else _flat(row.reference.strip().splitlines()[-1])
    if given is None:
        cut = "breaks off at the length limit" if broken_off else "ends"
        return f"The response {cut} without a final answer; the right one is {wanted}."
    read = last_number(given)
    if right is not None and read is not None and read.value == right:
        return f"Its final number {wanted} is right, but it is not given in the form asked for: {row.verdict.reason}."
    return f"The final answer {_flat(given)} is wrong; the right one is {wanted}."


def _given(row: Graded) -> str | None:
    """The final answer the grader read; where it read none, the number after the marker, or the last one."""
    verdict = row.verdict
    read = verdict.extracted if verdict.extracted is not None else verdict.value
    if verdict.value is not None and len(verdict.value) == 1 and verdict.value.isalpha():
        read = verdict.value  # of "the answer is (B)", the B
    if read is not None and read.strip():
        return read.removeprefix("####").strip()
    last = last_number(row.response)
    return last.text if last is not None else None


def _known(question: str, solution: Sequence[_Step]) -> set[Fraction]:
    """Every value the question states, or the standard solution states or passes through."""
    known = {value for number in numbers(question) for value in number.values}
    known |= {_SPOKEN[word] for word in re.findall(r"[a-z]+", question.lower()) if word in _SPOKEN}
    for step in solution:
        known |= {value for values in step.stated for value in values}
        for equation in step.found:
            known |= equation.partial | {equation.left, equation.right}
    return known


def _is_worked(solution: Sequence[_Step], wanted: Fraction | None) -> bool:
    """Whether the standard answer shows steps; compared with a bare answer, every step would be a departure."""
    return any(step.found or {value for values in step.stated for value in values} - {wanted} for step in solution)


def _next_step(solution: Sequence[_Step], reached: set[Fraction]) -> _Step | None:
    """The first step of the standard solution whose result has not been reached."""
    return next((step for step in solution if step.result is not None and step.result not in reached), None)


def _steps(text: str) -> list[_Step]:
    """The sentences of a worked answer, without what follows `####` on a line."""
    found, stated = equations(text), numbers(text)
    steps: list[_Step] = []
    offset = 0
    for line in text.splitlines(keepends=True):
        spoken, begin = len(line.partition("####")[0]), offset
        for cut in [match.end() for match in _SENTENCE_END.finditer(line, 0, spoken)] + [spoken]:
            end = offset + cut
            if text[begin:end].strip():
                values = tuple(number.values for number in _between(stated, begin, end))
                steps.append(_Step(text[begin:end], begin, tuple(_between(found, begin, end)), values))
            begin = end
        offset += len(line)
    return steps


def _between(found: Sequence[P], start: int, end: int) -> Sequence[P]:
    """Those of what was found in a text, in its order, that begin in text[start:end]."""
    first, last = (bisect_left(found, place, key=lambda each: each.start) for place in (start, end))
    return found[first:last]


def _quote(step: _Step, equation: Equation | None = None) -> str:
    """The step in quotation marks, cut to the equation where it is long or typeset."""
    text = step.text
    if equation is not None and (len(text) > QUOTE_LENGTH or "\\" in text):
        from_start = max(0, equation.start - step.start)
        text = text[from_start : max(from_start + 1, equation.end - step.start)]
    text = _flat(ANNOTATION.sub("", text) if ANNOTATION.sub("", text).strip() else ANNOTATION.sub(r"\1", text))
    text = text.removesuffix(".")
    return f'"{text if len(text) <= 2 * QUOTE_LENGTH else text[: 2 * QUOTE_LENGTH].rstrip() + " …"}"'


def _flat(text: str) -> str:
    return " ".join(text.split())


def _wanted(row: Graded) -> Fraction | None:
    """The standard answer's number; None for a task whose answers are no numbers."""
    try:
        return reference_value(row.reference)
    except DataError:
        return None


def _show(value: Fraction) -> str:
    """As a whole number or a decimal where that is exact, else as a fraction with its decimal beside it."""
    text = canonical(value)
    return f"{text} (about {float(value):.4g})" if "/" in text else text
