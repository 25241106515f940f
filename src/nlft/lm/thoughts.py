"""What a model thinks before it answers, kept apart from what it answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nlft.errors import ModelError
from nlft.lm.frame import frame_of, with_thought

__all__ = ["ThoughtMarks", "read_answer", "thought_marks"]

_END = re.compile(r"</\w+>\s*$")
QUESTION = "nlft0question"


@dataclass(frozen=True)
class ThoughtMarks:
    """How a template writes thoughts.

    Attributes:
        cue: What stands between question and generation, such as an open thought.
        begin: What begins a thought; empty if the cue has begun it.
        end: What ends it.
    """

    cue: str
    begin: str
    end: str

    def split(self, generated: str) -> tuple[str, str]:
        """The thoughts and the answer of a generated text; a thought that never ends leaves no answer."""
        text, start = self.cue + generated, len(self.cue)
        place = text.rfind(self.end)
        if place + len(self.end) <= start and place >= 0:
            return "", generated
        if place >= 0:
            return self._bare(text[start:place]), text[place + len(self.end) :].lstrip("\n")
        if not self.begin or generated.lstrip().startswith(self.begin):
            return self._bare(generated), ""
        return "", generated

    def _bare(self, thoughts: str) -> str:
        return thoughts.strip().removeprefix(self.begin).strip()


def thought_marks(tokenizer: Any) -> ThoughtMarks | None:
    """How the tokenizer's chat template writes thoughts; None if it knows of none."""
    frame = frame_of(tokenizer, [{"role": "user", "content": QUESTION}])
    cue = frame.prompt.rpartition(QUESTION)[2]
    try:
        around = with_thought(tokenizer, QUESTION)
    except ModelError:
        around = None
    if around is None:
        end = _END.search(frame.opening)
        return ThoughtMarks(cue, "", end.group().strip()) if end else None
    before, between = around
    # gpt-oss writes what begins the answer with or without a thought before it; others only end the thought.
    bare = frame.prompt + frame.opening
    shared = next(between[start:] for start in range(len(between) + 1) if bare.endswith(between[start:])).strip()
    shared = shared[max(0, shared.find("<")) :]  # no half of a mark
    begin = before[len(frame.prompt) :] if before.startswith(frame.prompt) else ""
    return ThoughtMarks(cue, begin.strip(), shared or between.strip())


def read_answer(tokenizer: Any, marks: ThoughtMarks | None, ids: Sequence[int]) -> tuple[str, str]:
    """The thoughts and the answer in generated ids, without the marks of the template."""
    if marks is None:
        return "", str(tokenizer.decode(ids, skip_special_tokens=True))
    raw = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return tuple(_without_specials(tokenizer, part) for part in marks.split(raw))  # type: ignore[return-value]


def _without_specials(tokenizer: Any, text: str) -> str:
    for mark in tokenizer.all_special_tokens:
        text = text.replace(mark, "")
    return text
