"""What a model thinks before it answers, kept apart from what it answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nlft.errors import ModelError
from nlft.lm.frame import NEXT, cue_of, frame_of, with_thought

_END = re.compile(r"</\w+>\s*$")


@dataclass(frozen=True)
class AnswerMarks:
    """What a model writes before its answer.

    Attributes:
        opening: What the template writes between generation prompt and answer.
        cue: What stands between question and generation, such as an open thought.
        begin: What begins a thought; empty if the cue has begun it.
        end: What ends it; empty if the template knows of no thoughts.
    """

    opening: str
    cue: str
    begin: str = ""
    end: str = ""

    def split(self, generated: str) -> tuple[str, str]:
        """The thoughts and the answer of a generated text; a thought that never ends leaves no answer."""
        text, start = self.cue + generated, len(self.cue)
        place = text.rfind(self.end) if self.end else -1
        if place + len(self.end) > start and place >= 0:
            return self._bare(text[start:place]), text[place + len(self.end) :].lstrip("\n")
        unfinished = self.end and place < 0 and (not self.begin or generated.lstrip().startswith(self.begin))
        return (self._bare(generated), "") if unfinished else ("", generated.removeprefix(self.opening))

    def _bare(self, thoughts: str) -> str:
        return thoughts.strip().removeprefix(self.begin).strip()


def answer_marks(tokenizer: Any) -> AnswerMarks:
    """What the tokenizer's chat template has a model write before its answer."""
    frame, cue = frame_of(tokenizer, [{"role": "user", "content": NEXT}]), cue_of(tokenizer)
    try:
        around = with_thought(tokenizer)
    except ModelError:
        around = None
    if around is None:
        end = _END.search(frame.opening)
        return AnswerMarks(frame.opening, cue, "", end.group().strip() if end else "")
    before, between = around
    begin = before[len(frame.prompt) :] if before.startswith(frame.prompt) else ""
    return AnswerMarks(frame.opening, cue, begin.strip(), between.strip())


def read_answer(tokenizer: Any, marks: AnswerMarks, ids: Sequence[int], prompt: Sequence[int]) -> tuple[str, str]:
    """The thoughts and the answer in the ids generated after a prompt, without the marks of the template.

    A prompt that ends in the beginning of an answer, which is continued, leaves no room for thoughts.
    """
    begun = not tokenizer.decode(prompt[-2 * len(marks.cue) :], skip_special_tokens=False).endswith(marks.cue)
    if begun or not (marks.opening or marks.end):
        return "", str(tokenizer.decode(ids, skip_special_tokens=True))
    raw = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    thoughts, answer = marks.split(raw)
    return _without_specials(tokenizer, thoughts), _without_specials(tokenizer, answer)


def _without_specials(tokenizer: Any, text: str) -> str:
    for mark in tokenizer.all_special_tokens:
        text = text.replace(mark, "")
    return text
