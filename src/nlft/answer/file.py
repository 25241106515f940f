"""Interim: the answer step from file to file."""

from __future__ import annotations

from pathlib import Path

from nlft.answer.config import AnswerSettings
from nlft.answer.factory import make_answerer
from nlft.answer.outcome import shortfall, usage_line
from nlft.answer.step import answer_file as _answer_file
from nlft.progress import Outcome
from nlft.prompts import load_prompts


def answer_file(settings: AnswerSettings, problems: Path, output: Path) -> Outcome:
    """Answer a file of problems."""
    who = make_answerer(settings)
    answers = _answer_file(
        problems, output, who, prompts=load_prompts(settings.prompts), samples=settings.samples,
        retry_failed=settings.retry_failed,
    )  # fmt: skip
    lines = [f"{output}: {len(answers.attempts)} answers by {who.name}"]
    if cut := sum(attempt.finish_reason == "length" for attempt in answers.attempts):
        lines.append(f"{cut} of them were cut off at {settings.max_new_tokens} tokens; raise --max-new-tokens")
    missing = shortfall(output, failed=len(answers.failed), unanswered=answers.unanswered)
    return Outcome("\n".join([*lines, *usage_line(answers.usage, settings)]), missing)


def answer_dry_run(settings: AnswerSettings, problems: Path, output: Path) -> str:
    """What `answer_file` would send."""
    from nlft.answer.outcome import dry_run
    from nlft.answer.step import answer_requests
    from nlft.records import Problem, read_records

    prompts = load_prompts(settings.prompts)
    requests = answer_requests(read_records(problems, Problem), make_answerer(settings), prompts, settings.samples)
    return dry_run(requests, output, settings, retry_failed=settings.retry_failed)
