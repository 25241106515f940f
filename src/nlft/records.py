"""Frozen records and their JSONL form.

A training example is a record that gains a field at each stage of the paper's pipeline:

    Problem ── answer ──▶ Attempt ── grade ──▶ Graded ── judge ──▶ Judged ── score ──▶ Scored

Each stage reads one JSONL file and writes the next. Each line is a record; fields that a stage does
not know are kept, so your own columns travel through the whole pipeline.

Every line states its form (`schema_version`); in memory a record always has the current one. A line
without it has form 1, like older files and users' own. `MIGRATIONS`
reads older forms; a newer one is rejected. The scores in a row have their own version, because an
older form of them cannot be migrated: `nlft score` recomputes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from nlft.edits import edited_rows
from nlft.errors import DataError
from nlft.files import read_objects, write_lines

SCHEMA_VERSION = 1
SCORES_VERSION = 1

# From form n to n + 1, by n. A row of form 1 may be a user's own, with some fields only: change what is there.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


class Record(BaseModel):
    """A frozen row; unknown fields are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)


class Problem(Record):
    """A question and its standard answer (the paper's ⟨question, standard answer⟩)."""

    id: str = Field(min_length=1, description="unique within its file")
    question: str = Field(min_length=1, description="the problem, as text")
    reference: str = Field(min_length=1, description="the standard answer: a worked solution, or the answer alone")

    @field_validator("question", "reference")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is blank")
        return value


class Attempt(Problem):
    """A problem with a response: a teacher's, or the student's own."""

    response: str = Field(description="the chain-of-thought answer Y = y_1..y_n")
    finish_reason: str | None = Field(default=None, description='"stop", or "length" if it hit the token limit')


class Verdict(Record):
    """What a grader found: right or wrong, and always why."""

    correct: bool
    value: str | None = Field(default=None, description="the number or choice compared, in canonical form")
    extracted: str | None = Field(default=None, description="the part of the response it was read from, verbatim")
    score: float | None = Field(
        default=None,
        ge=0,
        le=1,
        exclude_if=lambda score: score is None,
        description="partial credit, where it is given",
    )
    reason: str = Field(description="one clause that explains the verdict")


class Graded(Attempt):
    """An attempt with its verdict; `grades` keeps the verdict of every grader that ran, by name."""

    verdict: Verdict
    grades: dict[str, Verdict] = Field(default_factory=dict)


class Judged(Graded):
    """A graded attempt; if it is wrong, with a judgment that says in words what is wrong."""

    judgment: str | None = Field(default=None, description="None for a correct response")
    judge: str | None = Field(default=None, description="who judged")


class Sketch(Record):
    """The inner products of n tokens' hidden states: a low-rank part and a band (`nlft.score.sketch`)."""

    rank: int = Field(ge=0, description="numbers per token in the low-rank part")
    steps: list[float] = Field(description="rank numbers: the value of one unit of each column's codes")
    codes: str = Field(description="n x rank signed bytes, row by row, in base64")
    band: int = Field(ge=0, description="greatest distance in tokens at which the inner products are exact")
    corrections: str = Field(description="n x (band + 1) little-endian float32, row by row, in base64")


class Scores(Record):
    """What the model's probabilities say about each of the n response tokens.

    `nlft.score.schema` documents the form and its version; lists have length n.
    """

    version: int
    model: str
    token_ids: list[int]
    pieces: list[str] = Field(description="each token's text; joined, they are the response as the model sees it")
    logp_base: list[float]
    logp_standard: list[float]
    logp_judge: list[float] | None = Field(description="None for a correct response")
    sketch: Sketch
    salient: list[bool]
    cluster: list[bool] = Field(description="the salient tokens and their phrases")
    scale: list[float]
    marks: list[bool] | None = Field(default=None, description="the tokens of the words that a person marked")
    weights: list[float] | None = Field(default=None, description="the factor of each token, from the column `weights`")
    excluded: bool
    settings: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _is_of_this_version(cls, data: object) -> object:
        version = data.get("version") if isinstance(data, dict) else None
        if type(version) is int and version != SCORES_VERSION:
            message, remedy = _other_version("these scores have", version, SCORES_VERSION, "run `nlft score` again")
            raise PydanticCustomError("version", "{message}", {"message": message, "remedy": remedy})
        return data

    @model_validator(mode="after")
    def _lists_fit(self) -> Self:
        n = len(self.token_ids)
        lists: list[list[Any]] = [
            self.pieces,
            self.logp_base,
            self.logp_standard,
            self.salient,
            self.cluster,
            self.scale,
        ]
        lists += [each for each in (self.logp_judge, self.marks, self.weights) if each is not None]
        if any(len(values) != n for values in lists):
            raise PydanticCustomError("scores_length", "its lists differ in length; run `nlft score` again")
        return self


class Scored(Judged):
    """A judged attempt with its scores."""

    scores: Scores


R = TypeVar("R", bound=Record)


def read_records(path: str | Path, kind: type[R], *, unique_ids: bool = True) -> Iterator[R]:
    """Yield the records of a JSONL file, one line at a time (constant memory, except for the ids).

    Rows that a person edited (`nlft view --edit`) come as they were left. Those without what `kind` needs, such as a new
    response without a verdict, are left out with a warning.

    Args:
        path: The file; UTF-8, one JSON object a line; blank lines and a byte-order mark are skipped.
        kind: The record each line must be.
        unique_ids: Reject an `id` that occurred on an earlier line.

    Raises:
        DataError: with file, line and remedy, for a missing, empty or binary file, and for a line
            that is malformed or not an object, lacks a field, has a wrong type or NaN, or repeats an id.
    """
    return (record for _, record in read_numbered(path, kind, unique_ids=unique_ids))


def read_numbered(
    path: str | Path, kind: type[R], *, unique_ids: bool = True, edited: bool = True
) -> Iterator[tuple[int, R]]:
    """Yield (line number, record); otherwise like `read_records`. `edited=False` leaves a person's edits aside."""
    path = Path(path)
    seen: dict[str, int] = {}
    number = 0
    rows = read_objects(path)
    if edited and issubclass(kind, Attempt):
        rows = edited_rows(path, rows, kind.model_fields)
    for number, row in rows:
        record = parse_record(row, kind, file=path, line=number)
        identity = getattr(record, "id", None)
        if unique_ids and identity is not None:
            refuse_repeated(identity, seen, file=path, line=number)
        yield number, record
    if number == 0:
        raise DataError("the file holds no rows", file=path, remedy=_made_by(kind))


def refuse_repeated(identity: str, seen: dict[str, int], *, file: str | Path, line: int) -> None:
    """Note in `seen` the line of an id.

    Raises:
        DataError: if an earlier line has it.
    """
    first = seen.setdefault(identity, line)
    if first != line:
        raise DataError(
            f"the id {identity!r} is already on line {first}",
            file=file,
            line=line,
            remedy="give every row a unique id",
        )


def teacher_of(row: Record) -> str | None:
    """Who gave a row's response: its `answerer`, or else its `source` (`nlft data merge`); None where neither is told."""
    told = row.model_extra or {}
    return next((said for name in ("answerer", "source") if isinstance(said := told.get(name), str)), None)


def parse_record(row: dict[str, Any], kind: type[R], *, file: str | Path, line: int) -> R:
    """Parse one object as `kind`, from any form up to the current one.

    Raises:
        DataError: naming a field that is missing or has the wrong type; or for a newer form.
    """
    try:
        return kind.model_validate(_read_forward(row, file, line))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    field = field if field.isprintable() else ascii(field)  # it may contain a key from the data
    if first["type"] == "missing":
        message, remedy = f'the field "{field}" is missing', _made_by(kind)
    else:
        message = f'the field "{field}": {first["msg"][:1].lower()}{first["msg"][1:]}'
        remedy = first.get("ctx", {}).get("remedy", f"correct the value of {field!r}")
    raise DataError(message, file=file, line=line, remedy=remedy)


def _read_forward(row: dict[str, Any], file: str | Path, line: int) -> dict[str, Any]:
    """A row of any form up to the current one, in the current form."""
    version = row.get("schema_version", 1)
    if type(version) is not int or version < 1:
        what = f'the field "schema_version" holds {version!r:.40}, not the number of a form'
        raise DataError(what, file=file, line=line, remedy="rename or remove this column")
    if version > SCHEMA_VERSION:
        message, remedy = _other_version("this row has", version, SCHEMA_VERSION, "")
        raise DataError(message, file=file, line=line, remedy=remedy)
    row = {name: value for name, value in row.items() if name != "schema_version"}
    for form in range(version, SCHEMA_VERSION):
        row = MIGRATIONS[form](row)
    return row


def _other_version(what: str, found: int, known: int, older: str) -> tuple[str, str]:
    """Message and remedy for an unreadable form; `older` is the remedy for an older one."""
    age, remedy = ("an older", older) if found < known else ("a newer", "update nlft")
    return f"{what} form {found}, of {age} release; this one reads form {known}", remedy


def write_records(path: str | Path, records: Iterable[Record]) -> int:
    """Write records as JSONL, atomically: `path` is either the old file or the complete new one.

    Returns:
        The number of records written.

    Raises:
        DataError: if the disk is full or the folder is not writable; `path` is then unchanged.
    """
    return write_lines(path, (to_line(record) for record in records))


def to_line(record: Record) -> str:
    """One record as its JSON line, without the newline; the same record gives the same bytes."""
    row = {"schema_version": SCHEMA_VERSION} | record.model_dump(mode="json", exclude={"schema_version"})
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def _made_by(kind: type[Record]) -> str:
    commands = {
        "Problem": "`nlft data` writes such files",
        "Attempt": "`nlft answer` writes such files from problems",
        "Graded": "`nlft grade` writes such files from answers",
        "Judged": "`nlft judge` writes such files from graded answers",
        "Scored": "`nlft score` writes such files from judged answers",
    }
    return commands.get(kind.__name__, "check the file")
