"""Where a response first goes wrong: the step that its judgment quotes, located in the response."""

from __future__ import annotations

import re
from typing import NamedTuple

from nlft.records import Judged
from nlft.steps.arithmetic import ANNOTATION, equations, numbers

QUOTED = re.compile(r'"([^"\n]+)"|“([^”\n]+)”')
# What a judgment quotes after these words is the step that should have been there, not the response's.
OF_THE_STANDARD = re.compile(r"(?:step to take is|leaves out the step|should (?:be|say|read)|instead of writing)\s*$")


class Located(NamedTuple):
    """Character offsets in a response.

    Attributes:
        agreed: the end of what comes before the first wrong step; if none is found, the end of the last step that
            agrees with the standard answer.
        wrong: start and end of the wrong step; None if none is found (one is missing, or only the answer is wrong).
        closing: start and end of the closing form: the line break and `####`, without the answer.
    """

    agreed: int
    wrong: tuple[int, int] | None
    closing: tuple[int, int] | None


def locate_first_error(row: Judged, *, narrow: bool = False) -> Located:
    """Match the judgment's first quotation to the response; white space and calculator annotations are ignored.

    If the quotation occurs twice in the response, the first occurrence counts.

    Args:
        row: A wrong, judged row.
        narrow: If the quoted step has a false equation, mark only what follows its equals sign as wrong ("4 * 6 =" is
            right, whatever follows); otherwise the whole quotation.
    """
    closing = _closing(row.response)
    for match in QUOTED.finditer(row.judgment or ""):
        if OF_THE_STANDARD.search((row.judgment or "")[: match.start()]):
            continue
        found = _find(match[1] or match[2], row.response)
        if found is not None:
            wrong = _value(row.response, found) if narrow else found
            return Located(wrong[0], wrong, closing)
    return Located(_agreed(row, closing[0] if closing else len(row.response)), None, closing)


def quoted_correction(judgment: str | None) -> str | None:
    """The step that a judgment says should have been there, if it quotes it.

    >>> quoted_correction('The step "5 + 3 = 8" is wrong. It should be "5 * 3 = 15".')
    '5 * 3 = 15'
    """
    text = judgment or ""
    found = (match for match in QUOTED.finditer(text) if OF_THE_STANDARD.search(text[: match.start()]))
    first = next(found, None)
    return None if first is None else first[1] or first[2]


def _closing(response: str) -> tuple[int, int] | None:
    mark = response.find("####")
    if mark < 0:
        return None
    start = mark
    while start > 0 and response[start - 1] in " \t\r\n":
        start -= 1
    return start, mark + len("####")


def _find(quotation: str, response: str) -> tuple[int, int] | None:
    wanted = " ".join(quotation.removesuffix("…").removesuffix("...").split()).removesuffix(".")
    if not wanted:
        return None
    spoken = ANNOTATION.sub(lambda match: "\0" * len(match.group()), response)
    places = [place for place, sign in enumerate(spoken) if sign != "\0"]
    flat: list[str] = []
    origin: list[int] = []
    for place in places:
        sign = " " if spoken[place].isspace() else spoken[place]
        if sign == " " and flat and flat[-1] == " ":
            continue
        flat.append(sign)
        origin.append(place)
    at = "".join(flat).find(wanted)
    return None if at < 0 else (origin[at], origin[at + len(wanted) - 1] + 1)


def _value(response: str, step: tuple[int, int]) -> tuple[int, int]:
    """The right side of the step's first false equation; the step itself if it has none."""
    for equation in equations(response):
        if step[0] <= equation.start < step[1] and equation.verdict == "wrong":
            behind = response.rindex("=", equation.start, equation.end) + 1
            start = behind + len(response[behind:]) - len(response[behind:].lstrip(" $€£"))
            return start, min(equation.end, start + len(response[start : equation.end].rstrip()))
    return step


def _agreed(row: Judged, until: int) -> int:
    """The end of the leading lines that each state a number, the last of which the standard answer states too."""
    known = {value for number in numbers(row.reference) for value in number.values}
    known |= {equation.right for equation in equations(row.reference)}
    end = offset = 0
    for line in row.response[:until].splitlines(keepends=True):
        offset += len(line)
        stated = numbers(line)
        if not stated and line.strip():
            continue  # a line without a number neither agrees nor disagrees
        if stated and known.isdisjoint(stated[-1].values):
            break
        end = offset
    return len(row.response[:end].rstrip())
