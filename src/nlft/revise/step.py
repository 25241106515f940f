"""The revise stage: judged rows in, and out again with the student's own right answers in place of wrong responses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from nlft.answer.journal import Journal
from nlft.answer.local import LocalAnswerer
from nlft.answer.step import ask, pending, write_or_remove
from nlft.answer.types import Answerer, Request, Usage, make_request
from nlft.edits import without_response
from nlft.errors import DataError
from nlft.files import candidates_path, journal_path, refuse_same_file, sole_writer
from nlft.grade import get_grader, grade_one
from nlft.progress import Outcome
from nlft.prompts import AROUND, Context, PromptSet
from nlft.records import Attempt, Graded, Judged, Verdict, read_records, write_records
from nlft.revise.checks import closed, in_form, refusal, shows_working
from nlft.revise.config import ReviseSettings
from nlft.revise.likelihood import BaseLikelihood, Likelihood
from nlft.revise.ways import MARK, Asked, Way, ask_again, final_answer

DEFAULT: tuple[Way, ...] = ("answer", "steps", "judgment")


class Candidate(Attempt):
    """One of the student's new answers to a row."""

    row: str = Field(description="the id of the row")
    way: str = Field(description="what the student was shown")
    refusal: str | None = Field(description="why it may not be kept; None if it may")
    logp: float | None = Field(default=None, description="mean log-probability under the base prompt, in nats")


@dataclass(frozen=True)
class Revisions:
    """What the revise stage made of the rows.

    `rows` are in input order: each with a revised response, with the standard answer instead, or as it was.
    `repeats` counts rows left out because an earlier row of the same question got the same response, and `left_out` the
    wrong ones without a revision that did not get the standard answer either.
    """

    rows: list[Judged] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    wanted: int = 0
    repeats: int = 0
    usage: Usage = field(default_factory=Usage)
    left_out: int = 0

    @property
    def revised(self) -> int:
        """How many rows have a revised response."""
        return sum(_how(row) not in (None, "reference") for row in self.rows)

    def ways(self) -> list[dict[str, Any]]:
        """The yield of each way, and why candidates were refused."""
        chosen = Counter(_how(row) for row in self.rows)
        found = []
        for way in dict.fromkeys(candidate.way for candidate in self.candidates):
            mine = [candidate for candidate in self.candidates if candidate.way == way]
            kept = [candidate for candidate in mine if candidate.refusal is None]
            rows, with_one = (len({c.row for c in each}) for each in (mine, kept))
            refused = dict(Counter(c.refusal for c in mine if c.refusal is not None).most_common())
            counts = {"rows": rows, "answers": len(mine), "kept": len(kept), "rows_with_one": with_one}
            found.append({"way": way, **counts, "chosen": chosen[way], "refused": refused})
        return found

    def report(self) -> str:
        """The same as text, with what became of the rows."""
        lines = [f"{'way':<14}{'rows':>6}{'answers':>9}{'kept':>12}{'rows with one':>15}{'chosen':>8}  refused"]
        for each in self.ways():
            share = f"{each['kept']} ({each['kept'] / each['answers']:.0%})"
            told = ", ".join(f"{reason} {count}" for reason, count in each["refused"].items())
            counts = f"{each['rows']:>6}{each['answers']:>9}{share:>12}{each['rows_with_one']:>15}{each['chosen']:>8}"
            lines.append(f"{each['way']:<14}{counts}  {told}")
        standard = sum(_how(row) == "reference" for row in self.rows)
        lines.append(f"{self.revised} of {self.wanted} rows revised, {standard} have the standard answer")
        if self.left_out:
            lines.append(f"{self.left_out} left out: no revision, and the standard answer is not to be trained on")
        if self.repeats:
            lines.append(f"{self.repeats} left out: an earlier row of the same question has the same response")
        return "\n".join(lines)


def revise_rows(
    rows: Iterable[Judged],
    answerer: Answerer,
    *,
    prompts: PromptSet,
    ways: Sequence[Way] = DEFAULT,
    samples: int = 4,
    which: str = "wrong",
    grader: str = "gsm8k-flexible",
    threshold: float | None = None,
    shortest: float = 0.6,
    otherwise: str = "auto",
    likelihood: Likelihood | None = None,
    journal: Journal | None = None,
    retry_failed: bool = False,
) -> Revisions:
    """Let the student answer again, and keep for each row the likeliest answer that passes every check.

    A row without one gets the standard answer. A replaced row keeps its former response and judgment as
    `former_response` and `former_judgment`, and says in `revised` which way its response came.

    Args:
        rows: Judged rows; further fields travel along.
        answerer: The student.
        prompts: What surrounds what it is shown.
        ways: What it is shown; see `nlft.revise.WAYS`.
        samples: Answers per row and way.
        which: Revise "wrong" responses, or "all".
        grader: Decides whether an answer is right.
        threshold: The score from which on it is, for graders that give partial credit.
        shortest: The least length, as a share of the standard answer's.
        otherwise: What a wrong row without a revision gets: the "reference", nothing ("leave-out"), or the reference
            only if it shows its working ("auto").
        likelihood: Scores the answers that pass; the first one is taken where None.
        journal: Where replies and scores are kept and looked up; in memory where None.
        retry_failed: Ask again what failed for good in an earlier run.
    """
    given = list(rows)
    journal = journal if journal is not None else Journal()
    references = sorted({row.reference for row in given})
    decide = partial(grade_one, grader=grader, look_up=partial(get_grader, references=references, threshold=threshold))
    wanted = [row for row in given if which == "all" or not row.verdict.correct]
    questions = _questions(wanted, answerer, prompts, ways, samples)
    requests = [request for _, _, request in questions]
    usage = ask(requests, answerer.reply, journal, label="revising", retry_failed=retry_failed)
    candidates = [_candidate(*question, journal, decide, shortest) for question in questions]
    if likelihood is not None:
        scored = {place: likelihood.request(c) for place, c in enumerate(candidates) if c.refusal is None}
        ask(list(scored.values()), likelihood.reply, journal, label="scoring")
        for place, request in scored.items():
            if (reply := journal.get(request.key)) is not None and reply.failure is None:
                candidates[place] = candidates[place].model_copy(update={"logp": float(reply.text)})
    made, repeats, left_out = _choose(given, {row.id for row in wanted}, candidates, decide, otherwise)
    return Revisions(made, candidates, len(wanted), repeats, usage, left_out)


Decide = Callable[[Attempt], Graded]
Question = tuple[Judged, tuple[Way, int, Asked], Request]


def _questions(
    rows: Sequence[Judged], answerer: Answerer, prompts: PromptSet, ways: Sequence[Way], samples: int
) -> list[Question]:
    """What is asked: row by row, way by way, sample by sample."""
    settings = answerer.settings()
    found: list[Question] = []
    for row in rows:
        tools = Context.of(row).tools
        for way in ways:
            asked = ask_again(row, way, prompts)
            if asked is not None:
                for sample in range(samples):
                    request = make_request(settings, row, asked.messages, sample, tools)
                    found.append((row, (way, sample, asked), request))
    return found


def _candidate(
    row: Judged, how: tuple[Way, int, Asked], request: Request, journal: Journal, decide: Decide, shortest: float
) -> Candidate:
    way, sample, asked = how
    reply = journal.get(request.key)
    about: dict[str, Any] = {"question": row.question, "reference": row.reference, "row": row.id, "way": way}
    about["id"] = f"{row.id}@{way}#{sample}"
    about |= {name: value for name, value in (row.model_extra or {}).items() if name in AROUND}
    if reply is None or reply.failure is not None:
        why = reply.failure if reply is not None else "not asked"
        return Candidate.model_validate({**about, "response": "", "refusal": f"failed: {why}"})
    response, ended = closed(asked.response(reply.text).strip(), reply.finish_reason)
    graded = _graded(row, response, ended, decide)
    if graded.verdict.correct and MARK in row.reference and ended != "length":
        graded = _graded(row, in_form(response, final_answer(row.reference)), ended, decide)
    reason = refusal(graded, shortest=shortest)
    return Candidate.model_validate({**about, "response": graded.response, "finish_reason": ended, "refusal": reason})


def _graded(row: Judged, response: str, ended: str | None, decide: Decide) -> Graded:
    """The row with another response, graded; nothing said of the former one is kept."""
    own = without_response(row.model_dump()) | {"response": response, "finish_reason": ended}
    return decide(Attempt.model_validate(own))


def _choose(
    rows: Sequence[Judged], wanted: set[str], candidates: Sequence[Candidate], decide: Decide, otherwise: str
) -> tuple[list[Judged], int, int]:
    """The rows with their best candidate or the standard answer; how many repeated another, and how many have neither."""
    passed: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        if candidate.refusal is None:
            passed.setdefault(candidate.row, []).append(candidate)
    made: list[Judged] = []
    seen: set[tuple[str, str]] = set()
    repeats = left_out = 0
    for row in rows:
        if row.id in wanted:
            best = max(passed.get(row.id, []), key=lambda c: c.logp if c.logp is not None else 0.0, default=None)
            if best is not None:
                row = _replaced(row, best.response, best.way, decide)
            elif not row.verdict.correct:
                if otherwise == "leave-out" or (otherwise == "auto" and not shows_working(row.reference)):
                    left_out += 1
                    continue
                row = _replaced(row, row.reference, "reference", decide)
            if (row.question, row.response) in seen:
                repeats += 1
                continue
            seen.add((row.question, row.response))
        made.append(row)
    return made, repeats, left_out


def _replaced(row: Judged, response: str, how: str, decide: Decide) -> Judged:
    """The row with another, right response; what was said of the former one goes to fields of its own."""
    former = {f"former_{name}": getattr(row, name) for name in ("response", "judgment", "finish_reason")}
    graded = _graded(row, response, "stop", decide)
    verdict = graded.verdict
    if how == "reference":
        verdict = Verdict(correct=True, reason="the standard answer, in place of an incorrect response")
    own = graded.model_dump() | {"verdict": verdict, "judgment": None, "judge": None}
    return Judged.model_validate(own | former | {"revised": how})


def _how(row: Judged) -> str | None:
    """How a row was revised; None if it was not."""
    how = (row.model_extra or {}).get("revised")
    return how if isinstance(how, str) else None


def run(settings: ReviseSettings, judged: Path, output: Path) -> Outcome:
    """The revise stage from file to file, as its settings say: with journal, lock, and all candidates beside the output.

    Raises:
        LockedError: when another process is writing the same output.
        DataError: for a file that is no file of judged rows, a disk that is full, or if no row is left.
        ModelError: for a model that cannot be loaded.
    """
    refuse_same_file(judged, output)
    rows, student, prompts = list(read_records(judged, Judged)), _student(settings), settings.prompt_set()
    with sole_writer(output), Journal(journal_path(output)) as journal:
        revisions = revise_rows(
            rows,
            student,
            prompts=prompts,
            ways=settings.ways,
            samples=settings.samples,
            which=settings.rows,
            grader=settings.grader,
            threshold=settings.threshold,
            shortest=settings.shortest,
            otherwise=settings.otherwise,
            likelihood=BaseLikelihood(student, prompts),
            journal=journal,
            retry_failed=settings.retry_failed,
        )
        write_or_remove(candidates_path(output), revisions.candidates)
        if not revisions.rows:
            raise DataError(
                f"no row is left: every response is wrong, and no revision passed the checks\n{revisions.report()}",
                file=judged,
                remedy="more --samples or other --ways (replies are kept), or --otherwise reference",
            )
        write_records(output, revisions.rows)
    told = f"{revisions.report()}\n{len(revisions.rows)} rows -> {output}; all answers: {candidates_path(output)}"
    counts = {"rows": len(revisions.rows), "wanted": revisions.wanted, "revised": revisions.revised}
    return Outcome(told, data={"output": output, **counts, "ways": revisions.ways()})


def dry_run(settings: ReviseSettings, judged: Path, output: Path) -> str:
    """What `run` would ask."""
    rows = [row for row in read_records(judged, Judged) if settings.rows == "all" or not row.verdict.correct]
    found = _questions(rows, _student(settings), settings.prompt_set(), settings.ways, settings.samples)
    requests = [request for _, _, request in found]
    with Journal(journal_path(output)) as journal:
        missing = len(pending(requests, journal, retry_failed=settings.retry_failed))
    return f"would ask for {missing} answers, for {len(rows)} rows in {len(settings.ways)} ways; nothing was asked"


def _student(settings: ReviseSettings) -> LocalAnswerer:
    return LocalAnswerer(settings.model, settings, adapter=settings.adapter, load=settings)
