"""The records of an evaluation: one per problem, and the summary that `nlft evaluate` writes as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, computed_field

from nlft.config import Config
from nlft.errors import DataError
from nlft.evaluate.statistics import Interval, wilson_interval
from nlft.files import write_lines
from nlft.provenance import Provenance
from nlft.records import Record, Verdict, read_records
from nlft.tasks import columns_of

VERSION = 1

Grade = Literal["strict", "flexible"]
GRADERS: dict[Grade, str] = {"strict": "gsm8k-strict", "flexible": "gsm8k-flexible"}


class Evaluated(Record):
    """One problem's row: the model's response and each grader's verdict."""

    id: str
    response: str
    strict: Verdict
    flexible: Verdict
    finish_reason: str
    tokens: int = Field(ge=0, description="tokens generated, including the stop token")
    run: str = Field(
        description="fingerprint of model, prompts, settings and problems; only rows of the same run are reused"
    )

    @property
    def formatted(self) -> bool:
        """Whether the response ends in the required format: the strict grader found an answer, right or wrong."""
        return self.strict.value is not None


class Accuracy(Config):
    """A share of n, with its Wilson interval computed, never stored without its counts."""

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
    """A model's results on a set of problems, with everything needed to reproduce them."""

    version: Literal[1] = 1
    model: str
    adapter: str | None = Field(default=None, description="the adapter's folder, by name")
    adapter_hash: str | None = Field(default=None, description="hash of the adapter's files")
    n: int = Field(ge=0, description="problems")
    grader: str | None = Field(default=None, description="the grader used for both counts, if not GSM8K's two")
    strict: Accuracy = Field(description="correct by the strict form of the grader, such as `#### number`")
    flexible: Accuracy = Field(description="correct by the grader, such as by the last number")
    formatted: Accuracy = Field(description="responses in the required format")
    hit_length: Accuracy = Field(description="responses cut off at the token limit")
    settings: dict[str, float | int | str | bool | None] = Field(description="sampling settings")
    prompts: str = Field(description="name of the prompt set")
    prompts_hash: str
    seed: int
    data: str = Field(description="the problems' file, by name")
    data_hash: str = Field(description="hash of the problems' ids, questions and references")
    run: str = Field(description="the fingerprint its rows carry")
    resumed: int = Field(default=0, description="rows reused from an interrupted run")
    seconds: float = Field(description="wall-clock time of generation, without reused rows")
    tokens: int = Field(description="tokens generated in total")
    tokens_per_second: float = Field(description="generation speed of this process; 0 if it generated nothing")
    peak_memory_mb: float | None
    provenance: Provenance
    rows: list[Evaluated] = Field(default_factory=list, exclude=True, description="stored in the JSONL file next to it")

    @property
    def columns(self) -> tuple[str, str, str]:
        """What `strict`, `flexible` and `formatted` are called under its grader."""
        return columns_of(self.grader)

    def column(self, grader: Grade) -> str:
        """What the accuracy by one of the two graders is called."""
        return self.columns[0 if grader == "strict" else 1]

    def grade(self, grader: Grade) -> Accuracy:
        """The accuracy by one of the two graders."""
        return self.strict if grader == "strict" else self.flexible


def tally(flags: Iterable[bool]) -> Accuracy:
    """How many of the flags are set."""
    flags = list(flags)
    return Accuracy(count=sum(flags), n=len(flags))


def counts(rows: list[Evaluated]) -> dict[str, Any]:
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
    """The path of the rows of `eval.json`: `eval.jsonl` next to it.

    Raises:
        DataError: if both would be the same file.
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        raise DataError("the summary and its rows need different names", file=path, remedy="end the name in .json")
    return path.with_suffix(".jsonl")


def write_evaluation(path: str | Path, evaluation: Evaluation) -> None:
    """Write the summary as JSON, atomically; `evaluate` writes the rows as they come."""
    data = evaluation.model_dump(mode="json")
    write_lines(path, [json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)])


def read_evaluation(path: str | Path, *, with_rows: bool = True) -> Evaluation:
    """Read a summary and, unless `with_rows` is false, the rows next to it.

    Raises:
        DataError: for a file that is missing or not an evaluation, and for rows that do not belong to it.
    """
    path = Path(path)
    data = _read_json(path)
    try:
        evaluation = Evaluation.model_validate(strip_computed(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            f'this is not an evaluation: "{where}": {first["msg"].lower()}',
            file=path,
            remedy="give a file that `nlft evaluate` wrote",
        ) from None
    if not with_rows:
        return evaluation
    rows = list(read_records(rows_path(path), Evaluated)) if evaluation.n else []
    if {row.run for row in rows} - {evaluation.run} or len(rows) != evaluation.n:
        raise DataError(
            "these rows do not match the summary next to them",
            file=rows_path(path),
            remedy="evaluate again, or restore the file",
        )
    return evaluation.model_copy(update={"rows": rows})


def strip_computed(data: dict[str, Any]) -> dict[str, Any]:
    """A stored evaluation without the shares and intervals, which are recomputed from the counts."""
    fields = ("strict", "flexible", "formatted", "hit_length")
    kept = {
        f: {k: v for k, v in data[f].items() if k in ("count", "n")} for f in fields if isinstance(data.get(f), dict)
    }
    return data | kept


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("no such file", file=path, remedy="`nlft evaluate` writes such files") from None
    except (OSError, ValueError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise DataError(
            f"invalid JSON: {error}", file=path, line=line, remedy="give a file that `nlft evaluate` wrote"
        ) from None
    if not isinstance(data, dict):
        raise DataError("this is not an evaluation", file=path, remedy="give a file that `nlft evaluate` wrote")
    return data
