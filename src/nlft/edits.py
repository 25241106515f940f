"""What a person changed in a file of rows: `judged.edits.jsonl` beside `judged.jsonl`, which stays as it was.

Each line is one change: the row's id, its number among the changes of that row, a hash of the response in the file, and
the state of the row's edit after it, or that the change before it is undone. Lines are only ever appended. Whoever
reads the rows (`nlft.records.read_records`, `nlft data`) reads both files.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nlft.errors import DataError
from nlft.files import AppendOnlyFile, edits_path

logger = logging.getLogger("nlft")

PERSON = "person"
REASON = "a person's verdict"

OF_THE_RESPONSE = (
    "verdict", "grades", "judgment", "judge", "judge_thoughts", "thoughts", "finish_reason", "cost", "scores", "weights",
    "token_weights", "marks",
)  # fmt: skip
"""The fields that say something of one response, and of no other."""


def without_response(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row's fields without its response and all that was said of it."""
    return {name: value for name, value in row.items() if name != "response" and name not in OF_THE_RESPONSE}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Mark(_Strict):
    """Characters from `start` up to, not including, `end`, which a person called wrong; `text` is what they are."""

    start: int = Field(ge=0)
    end: int = Field(gt=0)
    text: str = Field(min_length=1)


class Edit(_Strict):
    """The state of a row's edit; None leaves the row's own. Verdict, judgment and marks are about the response of now.

    Attributes:
        response: another response; all that was said of the old one is dropped.
        correct: the verdict.
        judgment: the judgment of a wrong response; empty removes it.
        marks: the wrong words of a wrong response, in the order of the text.
        skip: leave the row out.
    """

    response: str | None = None
    correct: bool | None = None
    judgment: str | None = None
    marks: list[Mark] | None = None
    skip: bool = False

    def changed(self, changes: Mapping[str, Any], own_response: str) -> Edit:
        """The state after some changes; with another response, only what the same changes say of it.

        Raises:
            pydantic.ValidationError: for a change of an unknown field or a wrong type, an empty response, a mark that is
                not in the response, or text that UTF-8 cannot hold.
        """
        before = self.model_dump(exclude_none=True)
        response = changes.get("response")
        if response is not None and response != (self.response or own_response):
            before = {"skip": self.skip}
        edit = Edit.model_validate({**before, **changes})
        if edit.response == own_response:
            edit = edit.model_copy(update={"response": None})
        edit.check(own_response)
        return edit

    def check(self, own_response: str) -> None:
        """Refuse what cannot stand in a row; see `changed`."""
        response = own_response if self.response is None else self.response
        if not response.strip():
            raise ValueError("the response is empty")
        for text in (response, self.judgment or ""):
            text.encode("utf-8")
        last = 0
        for mark in self.marks or []:
            if not last <= mark.start < mark.end or response[mark.start : mark.end] != mark.text:
                raise ValueError(f"the mark {mark.text!r:.40} is not at that place of the response")
            last = mark.end


class _Line(_Strict):
    id: str = Field(min_length=1)
    version: int = Field(ge=1)
    of: str
    edit: Edit | None = None
    undo: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.edit is None) is not self.undo:
            raise ValueError("a change is an edit or an undo")
        return self


class Edits:
    """The edits of a file of rows as they stand; `Edits.of(path)` reads them, none where there is no such file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._states: dict[str, list[Edit]] = {}
        self._versions: dict[str, int] = {}
        self._of: dict[str, str] = {}

    @classmethod
    def of(cls, rows: str | Path) -> Edits:
        """Read the edits beside a file of rows.

        Raises:
            DataError: with file and line, for a line that is no edit.
        """
        edits = cls(edits_path(rows))
        for line in _lines(edits.path, repair=False):
            edits._take(line)
        return edits

    def __len__(self) -> int:
        """How many rows have an edit that was not undone."""
        return sum(bool(states) for states in self._states.values())

    def __contains__(self, identity: str) -> bool:
        """Whether a row has a change that stands, and so one to undo."""
        return bool(self._states.get(identity))

    def now(self, identity: str) -> Edit:
        """The state of a row's edit; without any, one that changes nothing."""
        states = self._states.get(identity)
        return states[-1] if states else Edit()

    def version(self, identity: str) -> int:
        """How many changes a row has seen, undone ones and their undoing included."""
        return self._versions.get(identity, 0)

    def apply(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """A row as the person left it; None if it is to be skipped.

        Raises:
            DataError: if the edits are of another response than the one in the file.
        """
        identity = row.get("id")
        if not isinstance(identity, str) or identity not in self:
            return dict(row)
        if self._of[identity] != _hash(row.get("response")):
            raise DataError(
                f"the edits of row {identity!r} are of another response than the one in the rows",
                file=self.path,
                remedy="delete its lines, and edit the row again; or delete the file",
            )
        return apply_edit(row, self.now(identity))

    def _take(self, line: _Line) -> None:
        states = self._states.setdefault(line.id, [])
        if self._of.get(line.id, line.of) != line.of:
            states.clear()  # the rows were made anew, and edited anew
        self._of[line.id] = line.of
        self._versions[line.id] = line.version
        if line.edit is not None:
            states.append(line.edit)
        elif states:
            states.pop()


class EditsFile(Edits):
    """The edits of a file of rows, to be changed: what `change` and `undo` have returned is on disk.

    Hold `nlft.files.sole_writer` on its path while it is in use.
    """

    def __init__(self, rows: str | Path) -> None:
        super().__init__(edits_path(rows))
        for line in _lines(self.path, repair=True):
            self._take(line)
        self._file = AppendOnlyFile(self.path)

    def change(self, identity: str, response: str, edit: Edit) -> None:
        """Add a row's new state; `response` is the one in the rows.

        Raises:
            DataError: when the disk is full.
        """
        self._append(identity, response, edit)

    def undo(self, identity: str, response: str) -> None:
        """Go back to a row's state before its last change that still stands.

        Raises:
            DataError: when the disk is full.
        """
        self._append(identity, response, None)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, identity: str, response: str, edit: Edit | None) -> None:
        line = _Line(id=identity, version=self.version(identity) + 1, of=_hash(response), edit=edit, undo=edit is None)
        self._file.append(line.model_dump(exclude_defaults=True))
        self._take(line)


def edited_rows(
    path: str | Path, rows: Iterable[tuple[int, dict[str, Any]]], needed: Container[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The numbered rows of a file as the person left them, without those that were skipped.

    A row is left out, with a warning that counts them, if an edit took a field from it that is `needed`.
    """
    edits = Edits.of(path)
    lacking = dict.fromkeys(_WITHOUT, 0)
    for number, row in rows:
        made = edits.apply(row)
        gone = [name for name in _WITHOUT if made is not None and name in needed and name in row and name not in made]
        if gone:
            lacking[gone[0]] += 1
        elif made is not None:
            yield number, made
    for name, count in lacking.items():
        if count:
            logger.warning(
                "%s: leaving out %d edited rows, which have no %s now: %s", path, count, name, _WITHOUT[name]
            )


_WITHOUT = {
    "verdict": "give one on the page, or `nlft data apply-edits` and `nlft grade`",
    "scores": "`nlft score` computes them anew",
}


def apply_edit(row: Mapping[str, Any], edit: Edit) -> dict[str, Any] | None:
    """A row under a state; None if it skips the row.

    Without a verdict of the person on a new response, the row has none: it is an attempt again, to be graded. The scores
    of a row go with the words they were computed from; marks leave them.
    """
    if edit.skip:
        return None
    made = dict(row)
    if edit.response is not None and edit.response != row.get("response"):
        made = {**without_response(row), "response": edit.response, "finish_reason": "stop"}
    verdict = made.get("verdict")
    was = verdict.get("correct") if isinstance(verdict, Mapping) else None
    correct = was if edit.correct is None else edit.correct
    if edit.correct is not None:
        said = {"correct": edit.correct, "reason": REASON}
        made |= {"verdict": said, "grades": {**(made.get("grades") or {}), PERSON: said}}
    words = made.get("judgment")
    if correct is not was or (edit.judgment is not None and edit.judgment != (words or "")):
        made |= {"judge": PERSON}
        made.pop("scores", None)
    if edit.judgment is not None:
        made["judgment"] = edit.judgment.strip() or None
    if edit.marks is not None:
        made["marks"] = [mark.model_dump() for mark in edit.marks]
        if edit.marks and not (made.get("judgment") or "").strip():
            made |= {"judgment": _in_words(edit.marks), "judge": PERSON}
            made.pop("scores", None)
    if correct:
        made["judgment"] = None
        made.pop("marks", None)
    if correct is None:  # not graded yet
        made = {name: value for name, value in made.items() if name not in ("judgment", "judge", "marks")}
    return made


def _in_words(marks: Sequence[Mark]) -> str:
    """The judgment of a person who marked words and wrote none."""
    return "This is wrong: " + ", ".join(f'"{mark.text.strip()}"' for mark in marks) + "."


def _lines(path: Path, *, repair: bool) -> Iterator[_Line]:
    try:
        for row in AppendOnlyFile(path, _is_line).read(repair=repair):
            yield _Line.model_validate(row)
    except DataError as error:
        remedy = "correct or delete the line; all others are kept"
        raise DataError("this line is no edit", file=path, line=error.line, remedy=remedy) from None


def _is_line(row: dict[str, Any]) -> bool:
    try:
        _Line.model_validate(row)
    except ValidationError:
        return False
    return True


def _hash(response: object) -> str:
    return hashlib.sha256(str(response).encode("utf-8", "surrogatepass")).hexdigest()[:16]
