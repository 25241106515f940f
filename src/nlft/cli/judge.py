"""`nlft judge`: words that say what is wrong with each incorrect response."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import DryRun, make_app, with_settings
from nlft.cli.output import conclude
from nlft.errors import ConfigError
from nlft.judge.config import JudgeSettings
from nlft.progress import Outcome

app = make_app()


@app.command()
@with_settings(JudgeSettings)
def judge(
    graded: Annotated[
        Path, typer.Argument(help="JSONL of graded responses; with --report alone, of judged responses.")
    ],
    settings: JudgeSettings,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSONL file to write.")] = None,
    dry_run: DryRun = False,
    report: Annotated[bool, typer.Option("--report", help="Print a report on the quality of the judgments.")] = False,
) -> None:
    """Judge graded responses; an interrupted run resumes where it stopped."""
    from nlft.judge import step

    if output is None:
        if not report:
            raise ConfigError("no output given", remedy="add -o, or --report to inspect a judged file")
        found = step.report_on(graded)
        conclude(Outcome(found.text(), data=found))
    elif dry_run:
        conclude(Outcome(step.dry_run(settings, graded, output)))
    else:
        conclude(step.run(settings, graded, output, report=report))
