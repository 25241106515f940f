"""The ways to ask a student to answer again: what it is shown, and what it continues."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from nlft.prompts import Context, Message, PromptSet
from nlft.records import Judged
from nlft.steps.first_error import locate_first_error, quoted_correction

Way = Literal["answer", "steps", "judgment", "correction", "stitch", "stitch-plain", "question"]

MARK = "####"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z(])")


@dataclass(frozen=True)
class Asked:
    """What a student is asked.

    Attributes:
        messages: the conversation; a last message of the assistant is to be continued.
        beginning: what the reply continues, with the white space at its end; empty if it is a response of its own.
    """

    messages: tuple[Message, ...]
    beginning: str = ""

    def response(self, reply: str) -> str:
        """The whole response."""
        bare = self.beginning.rstrip(" ")
        return (self.beginning if reply[:1].strip() else bare) + reply


def ask_again(row: Judged, way: Way, prompts: PromptSet) -> Asked | None:
    """What the student is asked in this way; None if the row has nothing to show for it."""
    return WAYS[way](row, prompts)


def _answer(row: Judged, prompts: PromptSet) -> Asked | None:
    return Asked(tuple(prompts.with_answer(row.question, final_answer(row.reference), Context.of(row))))


def _steps(row: Judged, prompts: PromptSet) -> Asked | None:
    steps = first_steps(row.reference)
    return Asked(tuple(prompts.with_steps(row.question, steps, Context.of(row)))) if steps else None


def _judgment(row: Judged, prompts: PromptSet) -> Asked | None:
    if row.verdict.correct or not (row.judgment and row.response.strip()):
        return None
    return Asked(tuple(prompts.correct(row.question, row.response, row.judgment, Context.of(row))))


def _stitch(row: Judged, prompts: PromptSet) -> Asked | None:
    return _continue(row, prompts.with_answer(row.question, final_answer(row.reference), Context.of(row)))


def _stitch_plain(row: Judged, prompts: PromptSet) -> Asked | None:
    return _continue(row, prompts.base(row.question, Context.of(row)))


def _correction(row: Judged, prompts: PromptSet) -> Asked | None:
    """The response up to its first wrong step, and the step that the judgment puts in its place."""
    correction = quoted_correction(row.judgment)
    located = None if row.verdict.correct or correction is None else locate_first_error(row)
    if located is None or located.wrong is None:
        return None
    beginning = row.response[: located.wrong[0]] + str(correction).rstrip()
    return Asked((*prompts.base(row.question), {"role": "assistant", "content": beginning}), beginning)


def _question(row: Judged, prompts: PromptSet) -> Asked | None:
    return Asked(tuple(prompts.base(row.question)))


def _continue(row: Judged, messages: list[Message]) -> Asked | None:
    """The response's own beginning, up to the first wrong step."""
    if row.verdict.correct:
        return None
    located = locate_first_error(row)
    beginning = row.response[: located.agreed]
    if not beginning.strip():
        return None
    if located.wrong is None and located.agreed < len(row.response) and row.response[located.agreed] == "\n":
        beginning += "\n"  # what comes next is a step of its own
    # Tokens begin with a space, they do not end with one.
    turn: Message = {"role": "assistant", "content": beginning.rstrip(" ")}
    return Asked((*messages, turn), beginning)


WAYS: dict[Way, Callable[[Judged, PromptSet], Asked | None]] = {
    "answer": _answer,
    "steps": _steps,
    "judgment": _judgment,
    "correction": _correction,
    "stitch": _stitch,
    "stitch-plain": _stitch_plain,
    "question": _question,
}
"""By name. `answer` shows the final answer, `steps` the first steps of the standard answer, `judgment` the response and
what is wrong with it; `stitch` shows the final answer and has the response's own beginning continued from its first
error, `stitch-plain` does so without showing anything.
"""


def final_answer(reference: str) -> str:
    """What follows `####`; without it, the last line.

    >>> final_answer("4 * 6 = 24" + chr(10) + "#### 24")
    '24'
    """
    _, mark, answer = reference.rpartition(MARK)
    lines = reference.strip().splitlines()
    return answer.strip() if mark and answer.strip() else lines[-1].strip()


def first_steps(reference: str) -> str:
    """The first half of the standard answer's lines, or of its sentences if it has one line; empty for a single step.

    >>> first_steps("Two boxes: 2 * 6 = 12. Eat 5. There are 12 - 5 = 7 left." + chr(10) + "#### 7")
    'Two boxes: 2 * 6 = 12.'
    """
    body = reference.partition(MARK)[0].strip()
    steps, joint = [line for line in body.splitlines() if line.strip()], "\n"
    if len(steps) == 1:
        steps, joint = _SENTENCE_END.split(steps[0]), " "
    return joint.join(steps[: len(steps) // 2])
