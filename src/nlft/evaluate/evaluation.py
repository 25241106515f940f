"""The records of an evaluation: one per problem, and the summary that `nlft evaluate` writes as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypedDict

from pydantic import Field, ValidationError, computed_field

from nlft.config import Config
from nlft.errors import DataError
from nlft.evaluate.statistics import Interval, wilson_interval
from nlft.provenance import Provenance
from nlft.records import Record, Verdict, read_records, write_lines

__all__ = ["Accuracy", "Evaluated", "Evaluation", "read_evaluation", "rows_path", "write_evaluation"]

VERSION = 1

Grade = Literal["strict", "flexible"]
GRADERS: dict[Grade, str] = {"strict": "gsm8k-strict", "flexible": "gsm8k-flexible"}


class Evaluated(Record):
    """One problem's row: what the model said and how each grader took it."""

    id: str
    response: str
    strict: Verdict
    flexible: Verdict
    finish_reason: str
    tokens: int = Field(ge=0, description="generated, the stop token included")
    run: str = Field(description="fingerprint of model, prompts, settings and problems; rows of one run may be resumed")

    @property
    def formatted(self) -> bool:
        """Whether the response ends as asked: the strict grader found an answer, right or wrong."""
        return self.strict.value is not None


class Accuracy(Config):
    """A share of n, with its Wilson interval computed, never stored apart from its counts."""

    count: int = Field(ge=0)
    n: int = Field(ge=0)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def share(self) -> float:
        """count / n; 0 where n is 0."""
        return self.count / self.n if self.n else 0.0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def interval(self) -> Interval:
        """The 95 % Wilson interval."""
        return wilson_interval(self.count, self.n)

    def __str__(self) -> str:
        """As `34.4 % (25.9-44.0, n = 96)`."""
        low, high = self.interval
        return f"{100 * self.share:.1f} % ({100 * low:.1f}-{100 * high:.1f}, n = {self.n})"


class Evaluation(Config):
    """How a model did on a set of problems, with all that is needed to get the number again."""

    version: Literal[1] = 1
    model: str
    adapter: str | None = Field(default=None, description="the adapter's folder, by name")
    adapter_hash: str | None = Field(default=None, description="of the adapter's files")
    n: int = Field(ge=0, description="problems")
    grader: str | None = Field(default=None, description="whose verdict stands for both, where GSM8K's two do not")
    strict: Accuracy = Field(description="correct by the required format `#### number`")
    flexible: Accuracy = Field(description="correct by the last number")
    formatted: Accuracy = Field(description="responses in the required format")
    hit_length: Accuracy = Field(description="responses cut off at the token limit")
    settings: dict[str, float | int | str | bool | None] = Field(description="of the sampling")
    prompts: str = Field(description="name of the prompt set")
    prompts_hash: str
    seed: int
    data: str = Field(description="the problems' file, by name")
    data_hash: str = Field(description="of id, question and reference of the problems")
    run: str = Field(description="the fingerprint its rows carry")
    resumed: int = Field(default=0, description="rows taken over from an earlier run that was broken off")
    seconds: float = Field(description="wall-clock time of the generation, without what was taken over")
    tokens: int = Field(description="generated in all")
    tokens_per_second: float = Field(description="of what this process generated; 0 where it generated nothing")
    peak_memory_mb: float | None
    provenance: Provenance
    rows: list[Evaluated] = Field(default_factory=list, exclude=True, description="kept in the JSONL file beside")

    def grade(self, grader: Grade) -> Accuracy:
        """The accuracy by one of the two graders."""
        return self.strict if grader == "strict" else self.flexible


def tally(flags: Iterable[bool]) -> Accuracy:
    """How many of the flags are set."""
    flags = list(flags)
    return Accuracy(count=sum(flags), n=len(flags))


class Counts(TypedDict):
    """The fields of an evaluation that its rows decide."""

    n: int
    strict: Accuracy
    flexible: Accuracy
    formatted: Accuracy
    hit_length: Accuracy
    tokens: int
    rows: list[Evaluated]


def counts(rows: list[Evaluated]) -> Counts:
    """Everything about an evaluation that can be counted from its rows."""
    return {
        "n": len(rows),
        "strict": tally(row.strict.correct for row in rows),
        "flexible": tally(row.flexible.correct for row in rows),
        "formatted": tally(row.formatted for row in rows),
        "hit_length": tally(row.finish_reason == "length" for row in rows),
        "tokens": sum(row.tokens for row in rows),
        "rows": rows,
    }


def rows_path(path: str | Path) -> Path:
    """Where the rows of `eval.json` stand: `eval.jsonl` beside it.

    Raises:
        DataError: where the two would be one file.
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        raise DataError("the summary needs a name that its rows do not take", file=path, remedy="end the name in .json")
    return path.with_suffix(".jsonl")


def write_evaluation(path: str | Path, evaluation: Evaluation) -> None:
    """Write the summary as JSON, atomically; the rows are written by `evaluate` as they come."""
    data = evaluation.model_dump(mode="json")
    write_lines(path, [json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)])


def read_evaluation(path: str | Path, *, with_rows: bool = True) -> Evaluation:
    """Read a summary and, unless told otherwise, the rows beside it.

    Raises:
        DataError: for a file that is missing or is no evaluation, and rows that do not belong to it.
    """
    path = Path(path)
    data = _read_json(path)
    try:
        evaluation = Evaluation.model_validate(strip_computed(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            f'this is no evaluation: "{where}": {first["msg"].lower()}',
            file=path,
            remedy="give a file that `nlft evaluate` wrote",
        ) from None
    if not with_rows:
        return evaluation
    rows = list(read_records(rows_path(path), Evaluated)) if evaluation.n else []
    if {row.run for row in rows} - {evaluation.run} or len(rows) != evaluation.n:
        raise DataError(
            "these rows are not the ones the summary beside was made from",
            file=rows_path(path),
            remedy="evaluate again, or restore the file",
        )
    return evaluation.model_copy(update={"rows": rows})


def strip_computed(data: dict[str, Any]) -> dict[str, Any]:
    """A stored evaluation without the shares and intervals, which are computed anew from their counts."""
    fields = ("strict", "flexible", "formatted", "hit_length")
    kept = {
        f: {k: v for k, v in data[f].items() if k in ("count", "n")} for f in fields if isinstance(data.get(f), dict)
    }
    return data | kept


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("there is no such file", file=path, remedy="`nlft evaluate` makes such a file") from None
    except (OSError, ValueError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise DataError(
            f"cannot be read as JSON: {error}", file=path, line=line, remedy="give a file that `nlft evaluate` wrote"
        ) from None
    if not isinstance(data, dict):
        raise DataError("this is no evaluation", file=path, remedy="give a file that `nlft evaluate` wrote")
    return data
