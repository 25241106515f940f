"""The answer stage: problems in, attempts out; nothing lost, nothing asked twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import Field

from nlft.answer.journal import Journal
from nlft.answer.types import Answerer, OnReply, Reply, Request, Usage, make_request
from nlft.files import failed_path, journal_path, refuse_same_file, sole_writer
from nlft.progress import progress
from nlft.prompts import PromptSet
from nlft.records import Attempt, Problem, Record, Scored, read_records, write_records

__all__ = ["Answers", "FailedRow", "answer", "answer_file", "ask", "sample_id"]


# The fields that the stages from here on fill.
LATER = set(Scored.model_fields) - set(Problem.model_fields)


class FailedRow(Problem):
    """A row that got no reply for good, as it came, with the reason."""

    failure: str = Field(description="why no reply will come by asking the same again")


@dataclass(frozen=True)
class Answers:
    """What the answer stage made of the problems; each problem's samples in input order.

    `unanswered` counts the requests that were not sent because a limit on cost or requests was reached.
    """

    attempts: list[Attempt] = field(default_factory=list)
    failed: list[FailedRow] = field(default_factory=list)
    unanswered: int = 0
    usage: Usage = field(default_factory=Usage)


def sample_id(identity: str, sample: int, samples: int) -> str:
    """The id of sample number `sample` of a problem: its own where one is taken, else `id#sample`."""
    return identity if samples == 1 else f"{identity}#{sample}"


def answer(
    problems: Iterable[Problem],
    answerer: Answerer,
    *,
    prompts: PromptSet,
    samples: int = 1,
    journal: Journal | None = None,
    retry_failed: bool = False,
) -> Answers:
    """Let `answerer` solve each problem `samples` times.

    Args:
        problems: What to solve; further fields travel along.
        answerer: Who answers.
        prompts: The solving prompt is its `base`.
        samples: Answers per problem; with more than one, ids become `id#0`, `id#1`, ...
        journal: Where replies are kept and looked up; in memory where None.
        retry_failed: Ask again what failed for good in an earlier run.
    """
    requests = answer_requests(problems, answerer, prompts, samples)
    journal = journal if journal is not None else Journal()
    usage = ask(requests, answerer, journal, retry_failed=retry_failed, label="answering")
    result = Answers(usage=usage)
    unanswered = 0
    for request in requests:
        reply = journal.get(request.key)
        row = request.row.model_dump() | {"id": sample_id(request.row.id, request.sample, samples)}
        if samples > 1:
            row |= {"problem": request.row.id, "sample": request.sample}
        if reply is None:
            unanswered += 1
        elif reply.failure is not None:
            result.failed.append(FailedRow.model_validate(row | {"failure": reply.failure}))
        else:
            # What grader and judge said of an earlier response does not hold for this one.
            row = {name: value for name, value in row.items() if name not in LATER}
            row |= {"response": reply.text, "finish_reason": reply.finish_reason, "answerer": answerer.name}
            result.attempts.append(Attempt.model_validate(row))
    return Answers(result.attempts, result.failed, unanswered, usage)


def answer_requests(
    problems: Iterable[Problem], answerer: Answerer, prompts: PromptSet, samples: int = 1
) -> list[Request]:
    """What the answer stage asks, problem by problem, sample by sample."""
    settings = answerer.settings()
    return [
        make_request(settings, problem, prompts.base(problem.question), sample)
        for problem in problems
        for sample in range(samples)
    ]


class Replier(Protocol):
    """What answerers and judges have in common."""

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """See `nlft.answer.Answerer.reply`."""
        ...


def ask(
    requests: Sequence[Request], replier: Replier, journal: Journal, *, retry_failed: bool = False, label: str
) -> Usage:
    """Get a reply into the journal for every request that has none; each distinct key is asked once."""
    distinct = {request.key: request for request in requests}
    missing = pending(requests, journal, retry_failed=retry_failed)
    usage = Usage()
    with progress(label, len(distinct)) as bar:
        if len(missing) < len(distinct):
            bar.advance(len(distinct) - len(missing))

        def on_reply(request: Request, reply: Reply) -> None:
            if reply.failure is None and not reply.text.strip():
                reply = Reply(
                    "",
                    reply.finish_reason,
                    "the reply is empty",
                    reply.requests,
                    reply.prompt_tokens,
                    reply.completion_tokens,
                )
            journal.put(request.key, reply)
            usage.add(reply)
            if usage.failures:
                bar.note(f"{usage.failures} failed")
            bar.advance()

        for request in missing:
            if not _is_text(request):
                on_reply(
                    request, Reply(failure="it holds half a character (a lone surrogate), which no model can be sent")
                )
        sendable = [request for request in missing if _is_text(request)]
        if sendable:
            replier.reply(sendable, on_reply)
    return usage


def _is_text(request: Request) -> bool:
    """Whether the messages can be written as UTF-8; JSON may hold escapes that cannot."""
    try:
        "".join(message["content"] for message in request.messages).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def pending(requests: Sequence[Request], journal: Journal, *, retry_failed: bool = False) -> list[Request]:
    """The requests that are still to be sent, each distinct one once."""
    distinct = {request.key: request for request in requests}
    replies = ((request, journal.get(key)) for key, request in distinct.items())
    return [r for r, reply in replies if reply is None or (retry_failed and reply.failure is not None)]


def answer_file(
    problems: str | Path,
    output: str | Path,
    answerer: Answerer,
    *,
    prompts: PromptSet,
    samples: int = 1,
    retry_failed: bool = False,
) -> Answers:
    """`answer` from file to file, with journal, lock and a file for what failed for good.

    A run that was killed goes on where it was; the output is the same bytes either way. Rows that failed
    stand in `<output stem>.failed.jsonl`, with the reason.

    Raises:
        LockedError: when another process is writing the same output.
        DataError: for a file that is no file of problems, or a disk that is full.
        EndpointError: when the server refuses everything or is gone; finished replies are kept.
    """
    refuse_same_file(problems, output)
    rows = list(read_records(problems, Problem))
    with sole_writer(output), Journal(journal_path(output) if answerer.cacheable else None) as journal:
        answers = answer(rows, answerer, prompts=prompts, samples=samples, journal=journal, retry_failed=retry_failed)
        write_or_remove(failed_path(output), answers.failed)
        write_records(output, answers.attempts)
    return answers


def write_or_remove(path: Path, records: Sequence[Record]) -> None:
    """Write the records; where there are none, leave no file from an earlier run behind."""
    if records:
        write_records(path, records)
    else:
        path.unlink(missing_ok=True)
