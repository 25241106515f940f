"""The answer stage: problems in, attempts out; nothing lost, nothing asked twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from nlft.answer.config import AnswerSettings
from nlft.answer.factory import make_answerer
from nlft.answer.journal import Journal
from nlft.answer.local import together
from nlft.answer.outcome import estimate_line, outcome
from nlft.answer.teachers import by_problem, teachers
from nlft.answer.types import Answerer, OnReply, Reply, Request, Usage, make_request
from nlft.files import failed_path, journal_path, refuse_same_file, sole_writer
from nlft.progress import Outcome, progress
from nlft.prompts import Context, PromptSet
from nlft.records import Attempt, Problem, Record, Scored, read_records, write_records

# The fields that this stage and those after it fill.
LATER = {*Scored.model_fields, "thoughts", "cost"} - set(Problem.model_fields)


class FailedRow(Problem):
    """A row that failed for good, as it came, with the reason."""

    failure: str = Field(description="why no reply will come by asking the same again")


@dataclass(frozen=True)
class Answers:
    """What the answer stage made of the problems; each problem's samples in input order.

    `replies` are those to `answer_requests`, in its order, with their tokens; None where a limit on cost or requests
    was reached before the request was sent, which `unanswered` counts.
    """

    attempts: list[Attempt] = field(default_factory=list)
    failed: list[FailedRow] = field(default_factory=list)
    replies: list[Reply | None] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)

    @property
    def unanswered(self) -> int:
        """How many requests were not sent."""
        return self.replies.count(None)


def answer(
    problems: Iterable[Problem],
    answerer: Answerer,
    *,
    prompts: PromptSet,
    samples: int = 1,
    journal: Journal | None = None,
    retry_failed: bool = False,
    keep_empty: bool = False,
    label: str = "answering",
    on_answer: OnReply | None = None,
    price: Callable[[int, int], float] | None = None,
) -> Answers:
    """Let `answerer` solve each problem `samples` times.

    Args:
        problems: What to solve; further fields travel along.
        answerer: Who answers.
        prompts: The solving prompt is its `base`.
        samples: Answers per problem; with more than one, ids become `id#0`, `id#1`, ...
        journal: Where replies are kept and looked up; in memory where None.
        retry_failed: Ask again what failed for good in an earlier run.
        keep_empty: Take an empty reply as an answer, as an evaluation does; else it is a failure.
        label: What the progress bar is called.
        on_answer: Called with each new reply once it is in the journal.
        price: What so many tokens read and written cost, for the column `cost`; none if it is None.
    """
    requests = answer_requests(problems, answerer, prompts, samples)
    journal = journal if journal is not None else Journal()
    usage = ask(
        requests,
        answerer.reply,
        journal,
        retry_failed=retry_failed,
        keep_empty=keep_empty,
        label=label,
        on_answer=on_answer,
    )
    result = Answers(replies=[journal.get(request.key) for request in requests], usage=usage)
    for request, reply in zip(requests, result.replies, strict=True):
        row = request.row.model_dump()
        if samples > 1:
            row |= {"id": f"{request.row.id}#{request.sample}", "problem": request.row.id, "sample": request.sample}
        if reply is not None and reply.failure is not None:
            result.failed.append(FailedRow.model_validate(row | {"failure": reply.failure}))
        elif reply is not None:
            # What grader and judge said of an earlier response does not hold for this one.
            row = {name: value for name, value in row.items() if name not in LATER}
            row |= {"response": reply.text, "finish_reason": reply.finish_reason, "answerer": answerer.name}
            row |= {"thoughts": reply.thoughts} if reply.thoughts else {}
            row |= {"cost": price(reply.prompt_tokens, reply.completion_tokens)} if price is not None else {}
            result.attempts.append(Attempt.model_validate(row))
    return result


def answer_requests(
    problems: Iterable[Problem], answerer: Answerer, prompts: PromptSet, samples: int = 1
) -> list[Request]:
    """What the answer stage asks, problem by problem, sample by sample."""
    settings = answerer.settings()
    return [
        make_request(settings, problem, prompts.base(problem.question, context), sample, context.tools)
        for problem, context in ((problem, Context.of(problem)) for problem in problems)
        for sample in range(samples)
    ]


def ask(
    requests: Sequence[Request],
    reply: Callable[[Sequence[Request], OnReply], None],
    journal: Journal,
    *,
    label: str,
    retry_failed: bool = False,
    keep_empty: bool = False,
    on_answer: OnReply | None = None,
) -> Usage:
    """Get a reply into the journal for every request that has none; each distinct key is asked once.

    Args:
        requests: What is asked.
        reply: Sends requests and calls back; see `nlft.answer.Answerer.reply`.
        journal: Where replies are kept and looked up.
        label: What the progress bar is called.
        retry_failed, keep_empty, on_answer: As for `answer`.
    """
    missing = pending(requests, journal, retry_failed=retry_failed)
    asked = {request.key for request in missing}
    usage = Usage(resumed=sum(request.key not in asked for request in requests))
    distinct = len({request.key for request in requests})
    with progress(label, distinct) as bar:
        if len(missing) < distinct:
            bar.advance(distinct - len(missing))

        def on_reply(request: Request, came: Reply) -> None:
            if came.failure is None and not keep_empty and not came.text.strip():
                came = replace(came, text="", failure="the reply is empty")
            elif not _is_text(came.text):
                came = replace(came, failure="the reply holds a lone surrogate, which no file of records can keep")
            journal.put(request.key, came)
            usage.add(came)
            if on_answer is not None:
                on_answer(request, came)
            if usage.failures:
                bar.note(f"{usage.failures} failed")
            bar.advance()

        sendable = []
        for request in missing:
            if _is_text("".join(message["content"] for message in request.messages)):
                sendable.append(request)
            else:
                on_reply(request, Reply(failure="it holds a lone surrogate, which no model can be sent"))
        if sendable:
            reply(sendable, on_reply)
    return usage


def _is_text(text: str) -> bool:
    """Whether it can be written as UTF-8; JSON may hold escapes that cannot."""
    try:
        text.encode("utf-8")
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
    answerers: Iterable[Answerer],
    *,
    samples: int = 1,
    several: bool = False,
    cacheable: bool = True,
    **how: Any,
) -> dict[str, Answers]:
    """`answer` from file to file, with journal, lock and a file for what failed for good; the answers by who gave them.

    A killed run resumes where it stopped; the output is the same bytes either way. Rows that failed are in
    `<output stem>.failed.jsonl`, with the reason.

    Args:
        problems: The file of problems.
        output: The file to write.
        answerers: Who answers, one after the other.
        samples: Answers per problem.
        several: Whether they are more than one, whose rows are put together.
        cacheable: Whether replies are worth a journal.
        **how: Further arguments of `answer`.

    Raises:
        LockedError: when another process is writing the same output.
        DataError: for a file that holds no problems, or a full disk.
        EndpointError: when the server refuses everything or is gone; finished replies are kept.
    """
    refuse_same_file(problems, output)
    rows = list(read_records(problems, Problem))
    made: dict[str, Answers] = {}
    with sole_writer(output), Journal(journal_path(output) if cacheable else None) as journal:
        for who in answerers:
            made[who.name] = answer(rows, who, samples=samples, journal=journal, **how)
        attempts = {name: each.attempts for name, each in made.items()}
        failed = {name: each.failed for name, each in made.items()}
        write_or_remove(failed_path(output), by_problem(failed, rows, samples) if several else failed.popitem()[1])
        write_records(output, by_problem(attempts, rows, samples) if several else attempts.popitem()[1])
    return made


def write_or_remove(path: Path, records: Sequence[Record]) -> None:
    """Write the records; where there are none, remove an earlier run's file."""
    if records:
        write_records(path, records)
    else:
        path.unlink(missing_ok=True)


def run(settings: AnswerSettings, problems: Path, output: Path, answerer: Answerer | None = None) -> Outcome:
    """The answer stage from file to file, as its settings say; `answerer` answers in place of theirs.

    Raises:
        ConfigError: for a missing model, key or adapter folder; as `nlft.answer.teachers.teachers`.
        LockedError, DataError, EndpointError: as `answer_file`.
    """
    if settings.also:
        return _run(settings, teachers(settings), problems, output, several=True)
    who = answerer or make_answerer(settings)
    return together(who, settings.device, lambda: _run(settings, [who], problems, output, cacheable=who.cacheable))


def _run(settings: AnswerSettings, answerers: Iterable[Answerer], problems: Path, output: Path, **how: bool) -> Outcome:
    made = answer_file(
        problems,
        output,
        answerers,
        prompts=settings.prompt_set(),
        samples=settings.samples,
        retry_failed=settings.retry_failed,
        price=settings.cost if settings.priced else None,
        **how,
    )
    usage, lines, by = Usage(), [], {}
    for name, answers in made.items():
        usage.join(answers.usage)
        lines.append(f"{output}: {len(answers.attempts)} answers by {name}")
        cut = sum(attempt.finish_reason == "length" for attempt in answers.attempts)
        by[name] = {"answers": len(answers.attempts), "cut_off": cut}
        if cut:
            lines.append(f"{cut} of them were cut off at {settings.max_new_tokens} tokens; raise --max-new-tokens")
    failed, unanswered = (
        sum(each) for each in zip(*((len(a.failed), a.unanswered) for a in made.values()), strict=True)
    )
    told = outcome(lines, usage, settings, output, failed=failed, unanswered=unanswered)
    return replace(told, data={**told.data, "by": by})


def dry_run(settings: AnswerSettings, problems: Path, output: Path, answerer: Answerer | None = None) -> str:
    """What `run` would send, and what that may cost."""
    rows = list(read_records(problems, Problem))
    lines = []
    with Journal(journal_path(output)) as journal:
        for own in settings.each():
            who = answerer or make_answerer(own)
            requests = answer_requests(rows, who, settings.prompt_set(), settings.samples)
            missing = pending(requests, journal, retry_failed=settings.retry_failed)
            line = estimate_line(missing, len(requests), settings)
            lines.append(f"{who.name}: {line}" if settings.also else line)
    return "\n".join(lines)
