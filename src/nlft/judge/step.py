"""The judge stage: graded attempts in, judged ones out; only incorrect responses are judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from nlft.answer.journal import Journal
from nlft.answer.step import FailedRow, ask, write_or_remove
from nlft.answer.types import Usage
from nlft.errors import DataError
from nlft.files import failed_path, journal_path, refuse_same_file, rejected_path, sole_writer
from nlft.judge.judges import Judge
from nlft.records import Graded, Judged, read_records, write_records

__all__ = ["Judgments", "RejectedRow", "judge", "judge_file", "needs_judgment"]


class RejectedRow(Judged):
    """A row whose judgment contradicts its grade; it is kept for the record and never trained on."""

    contradiction: str = Field(description="how judgment and grade contradict each other")


@dataclass(frozen=True)
class Judgments:
    """What the judge stage made of the graded attempts, each list in input order.

    `judged` holds the correct responses too, without a judgment. `failed` got no judgment for good,
    `aside` one that contradicts the grade; `unanswered` counts what a limit on cost or requests left.
    """

    judged: list[Judged] = field(default_factory=list)
    failed: list[FailedRow] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)
    unanswered: int = 0
    usage: Usage = field(default_factory=Usage)


def judge(
    graded: Iterable[Graded], judge: Judge, *, journal: Journal | None = None, retry_failed: bool = False
) -> Judgments:
    """Get words for every incorrect response that has none of the data's own; a correct one passes through as it is.

    Args:
        graded: Attempts with their verdict; further fields travel along.
        judge: Who judges.
        journal: Where judgments are kept and looked up; in memory where None.
        retry_failed: Ask again what failed for good in an earlier run.
    """
    rows = list(graded)
    journal = journal if journal is not None else Journal()
    requests = {place: judge.request(row) for place, row in enumerate(rows) if needs_judgment(row)}
    usage = ask(list(requests.values()), judge.reply, journal, retry_failed=retry_failed, label="judging")
    result = Judgments(usage=usage)
    unanswered = 0
    for place, row in enumerate(rows):
        fields = row.model_dump()
        reply = journal.get(requests[place].key) if place in requests else None
        if row.verdict.correct:
            result.judged.append(Judged.model_validate(fields | {"judgment": None, "judge": None}))
        elif place not in requests:
            result.judged.append(Judged.model_validate(fields))
        elif reply is None:
            unanswered += 1
        elif reply.failure is not None:
            result.failed.append(FailedRow.model_validate(fields | {"failure": reply.failure}))
        elif judge.contradicts(row, reply.text):
            words = {"contradiction": "the judge calls the response correct, the grade calls it wrong"}
            fields |= {"judgment": reply.text, "judge": judge.name}
            result.rejected.append(RejectedRow.model_validate(fields | words))
        else:
            result.judged.append(Judged.model_validate(fields | {"judgment": reply.text, "judge": judge.name}))
    return Judgments(result.judged, result.failed, result.rejected, unanswered, usage)


def needs_judgment(row: Graded) -> bool:
    """Whether a judge is asked: for a wrong response, unless the data has words for it that no judge has signed."""
    words, judge = getattr(row, "judgment", None), getattr(row, "judge", None)
    own = isinstance(words, str) and words.strip() and judge is None
    return not (row.verdict.correct or own)


def judge_file(graded: str | Path, output: str | Path, judge_with: Judge, *, retry_failed: bool = False) -> Judgments:
    """`judge` from file to file, with journal, lock, and files for what failed or contradicts the grade.

    Rows that failed stand in `<output stem>.failed.jsonl`, contradictions in `<output stem>.rejected.jsonl`.

    Raises:
        LockedError: when another process is writing the same output.
        DataError: for a file that is no file of graded answers, or a disk that is full.
        EndpointError: when the server refuses everything or is gone; finished judgments are kept.
    """
    refuse_same_file(graded, output)
    rows = read_graded(graded)
    with sole_writer(output), Journal(journal_path(output) if judge_with.cacheable else None) as journal:
        judgments = judge(rows, judge_with, journal=journal, retry_failed=retry_failed)
        write_or_remove(failed_path(output), judgments.failed)
        write_or_remove(rejected_path(output), judgments.rejected)
        write_records(output, judgments.judged)
    return judgments


def read_graded(path: str | Path) -> list[Graded]:
    """Read a file of graded answers.

    Raises:
        DataError: as `read_records`; for answers without a verdict it says to grade them first.
    """
    try:
        return list(read_records(path, Graded))
    except DataError as error:
        if "verdict" not in error.message:
            raise
        remedy = f"grade them first: nlft grade {path} -o graded.jsonl"
        raise DataError("these answers are not graded", file=path, line=error.line, remedy=remedy) from None
