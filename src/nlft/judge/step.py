"""The judge stage: graded attempts in, judged ones out; only incorrect responses are judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from nlft.answer.journal import Journal
from nlft.answer.outcome import estimate_line, outcome
from nlft.answer.step import FailedRow, ask, pending, write_or_remove
from nlft.answer.types import Usage
from nlft.edits import PERSON
from nlft.errors import DataError
from nlft.files import failed_path, journal_path, read_objects, refuse_same_file, rejected_path, sole_writer
from nlft.judge.config import JudgeSettings
from nlft.judge.factory import make_judge
from nlft.judge.judges import Judge, RuleJudge
from nlft.judge.quality import QualityReport, quality_report
from nlft.progress import Outcome
from nlft.prompts import load_prompts
from nlft.records import Graded, Judged, read_records, write_records


class RejectedRow(Judged):
    """A row whose judgment contradicts its grade; it is kept for the record and never trained on."""

    contradiction: str = Field(description="how judgment and grade contradict each other")


@dataclass(frozen=True)
class Judgments:
    """What the judge stage made of the graded attempts, each list in input order.

    `judged` holds the correct responses too, without a judgment. `failed` got no judgment for good,
    `rejected` one that contradicts the grade; `accepted` counts those that were believed instead; `unanswered`
    counts what a limit on cost or requests left.
    """

    judged: list[Judged] = field(default_factory=list)
    failed: list[FailedRow] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)
    unanswered: int = 0
    usage: Usage = field(default_factory=Usage)
    accepted: int = 0


def judge(
    graded: Iterable[Graded],
    judge: Judge,
    *,
    journal: Journal | None = None,
    retry_failed: bool = False,
    contradictions: Literal["reject", "accept"] = "reject",
) -> Judgments:
    """Get words for every incorrect response that has none of the data's own; a correct one passes through as it is.

    Args:
        graded: Attempts with their verdict; further fields travel along.
        judge: Who judges.
        journal: Where judgments are kept and looked up; in memory where None.
        retry_failed: Ask again what failed for good in an earlier run.
        contradictions: What becomes of a wrong response that the judge calls correct: set aside, or correct from now on.
    """
    rows = list(graded)
    if isinstance(judge, RuleJudge):
        judge = judge.among(rows)
    journal = journal if journal is not None else Journal()
    requests = {place: judge.request(row) for place, row in enumerate(rows) if needs_judgment(row)}
    usage = ask(list(requests.values()), judge.reply, journal, retry_failed=retry_failed, label="judging")
    result = Judgments(usage=usage)
    unanswered = accepted = 0
    for place, row in enumerate(rows):
        fields = row.model_dump()
        reply = journal.get(requests[place].key) if place in requests else None
        if reply is not None and reply.thoughts:
            fields["judge_thoughts"] = reply.thoughts
        if row.verdict.correct:
            result.judged.append(Judged.model_validate(fields | {"judgment": None, "judge": None}))
        elif place not in requests:
            result.judged.append(Judged.model_validate(fields))
        elif reply is None:
            unanswered += 1
        elif reply.failure is not None:
            result.failed.append(FailedRow.model_validate(fields | {"failure": reply.failure}))
        elif judge.contradicts(row, reply.text) and contradictions == "accept":
            reason = f"the judge calls it correct, against the grade ({row.verdict.reason})"
            verdict = row.verdict.model_copy(update={"correct": True, "reason": reason})
            result.judged.append(Judged.model_validate(fields | {"verdict": verdict, "judgment": None, "judge": None}))
            accepted += 1
        elif judge.contradicts(row, reply.text):
            words = {"contradiction": "the judge calls the response correct, the grade calls it wrong"}
            fields |= {"judgment": reply.text, "judge": judge.name}
            result.rejected.append(RejectedRow.model_validate(fields | words))
        else:
            result.judged.append(Judged.model_validate(fields | {"judgment": reply.text, "judge": judge.name}))
    return Judgments(result.judged, result.failed, result.rejected, unanswered, usage, accepted)


def needs_judgment(row: Graded) -> bool:
    """Whether a judge is asked: for a wrong response, unless it has words of a person, or some that no judge has signed."""
    words, judge = getattr(row, "judgment", None), getattr(row, "judge", None)
    own = isinstance(words, str) and words.strip() and judge in (None, PERSON)
    return not (row.verdict.correct or own)


def judge_file(
    graded: str | Path,
    output: str | Path,
    judge_with: Judge,
    *,
    retry_failed: bool = False,
    contradictions: Literal["reject", "accept"] = "reject",
) -> Judgments:
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
        judgments = judge(rows, judge_with, journal=journal, retry_failed=retry_failed, contradictions=contradictions)
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


def run(settings: JudgeSettings, graded: Path, output: Path, *, report: bool = False) -> Outcome:
    """The judge stage from file to file, as its settings say; with a report on the judgments' quality.

    Raises:
        ConfigError: for a missing model or key.
        LockedError, DataError, EndpointError: as `judge_file`.
    """
    who = make_judge(settings, load_prompts(settings.prompts))
    found = judge_file(graded, output, who, retry_failed=settings.retry_failed, contradictions=settings.contradictions)
    words = sum(row.judgment is not None for row in found.judged)
    own = sum(row.judgment is not None and row.judge is None for row in found.judged)
    lines = [f"{output}: {len(found.judged)} rows, {words - own} of them with a judgment by {who.name}"]
    if own:
        lines.append(f"judgments of the data kept: {own}; remove the column `judgment` to judge those rows too")
    if found.rejected:
        lines.append(f"{len(found.rejected)} judgments contradict the grade; they are in {rejected_path(output)}")
    if found.accepted:
        lines.append(f"{found.accepted} wrong responses count as correct now, as the judge calls them")
    quality = report_on(output) if report else None
    lines += [quality.text()] if quality is not None else []
    told = outcome(lines, found.usage, settings, output, failed=len(found.failed), unanswered=found.unanswered)
    return replace(told, data=told.data if quality is None else quality)


def dry_run(settings: JudgeSettings, graded: Path, output: Path) -> str:
    """What `run` would send, and what that may cost."""
    who = make_judge(settings, load_prompts(settings.prompts))
    requests = [who.request(row) for row in read_graded(graded) if needs_judgment(row)] if who.cacheable else []
    with Journal(journal_path(output)) as journal:
        missing = pending(requests, journal, retry_failed=settings.retry_failed)
    return estimate_line(missing, len(requests), settings)


def report_on(judged: Path) -> QualityReport:
    """The quality report of a judged file, with its companions for failures and contradictions."""
    companions = (failed_path(judged), rejected_path(judged))
    failed, rejected = (sum(1 for _ in read_objects(path)) if path.exists() else 0 for path in companions)
    return quality_report(read_records(judged, Judged), failed=failed, contradictions=rejected)
