"""Interim: the judge step from file to file."""

from __future__ import annotations

from pathlib import Path

from nlft.answer.outcome import shortfall, usage_line
from nlft.files import failed_path, rejected_path
from nlft.judge.config import JudgeSettings
from nlft.judge.factory import make_judge
from nlft.judge.step import judge_file as _judge_file
from nlft.progress import Outcome
from nlft.prompts import load_prompts
from nlft.records import Judged, read_objects, read_records


def judge_file(settings: JudgeSettings, graded: Path, output: Path, *, report: bool = False) -> Outcome:
    """Judge a file of graded responses."""
    who = make_judge(settings, load_prompts(settings.prompts))
    judgments = _judge_file(graded, output, who, retry_failed=settings.retry_failed)
    words = sum(row.judgment is not None for row in judgments.judged)
    own = sum(row.judgment is not None and row.judge is None for row in judgments.judged)
    lines = [f"{output}: {len(judgments.judged)} rows, {words - own} of them with a judgment by {who.name}"]
    if own:
        lines.append(f"judgments of the data kept: {own}; remove the column `judgment` to judge those rows too")
    if judgments.rejected:
        lines.append(f"{len(judgments.rejected)} judgments contradict the grade; they are in {rejected_path(output)}")
    if report:
        lines.append(report_text(output))
    missing = shortfall(output, failed=len(judgments.failed), unanswered=judgments.unanswered)
    return Outcome("\n".join([*lines, *usage_line(judgments.usage, settings)]), missing)


def report_text(judged: Path) -> str:
    """The quality report of a judged file, with its companions for failures and contradictions."""
    from nlft.judge.quality import quality_report

    beside = [
        sum(1 for _ in read_objects(p)) if p.exists() else 0 for p in (failed_path(judged), rejected_path(judged))
    ]
    return quality_report(read_records(judged, Judged), failed=beside[0], contradictions=beside[1]).text()


def judge_dry_run(settings: JudgeSettings, graded: Path, output: Path) -> str:
    """What `judge_file` would send."""
    from nlft.answer.outcome import dry_run
    from nlft.judge.step import needs_judgment, read_graded

    who = make_judge(settings, load_prompts(settings.prompts))
    requests = [who.request(row) for row in read_graded(graded) if needs_judgment(row)]
    return dry_run(requests if who.cacheable else [], output, settings, retry_failed=settings.retry_failed)
