"""`nlft revise`: the student answers again, and its right answers replace wrong responses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import AllowCode, DryRun, Output, make_app, with_settings
from nlft.cli.output import conclude
from nlft.progress import Outcome
from nlft.revise.config import ReviseSettings

app = make_app()


@app.command()
@with_settings(ReviseSettings)
def revise(
    judged: Annotated[Path, typer.Argument(help="JSONL of judged responses.")],
    output: Output,
    settings: ReviseSettings,
    dry_run: DryRun = False,
    allow_code: AllowCode = False,
) -> None:
    """Let the student answer again, shown more than the question; an interrupted run resumes where it stopped."""
    from nlft.revise import step

    conclude(Outcome(step.dry_run(settings, judged, output)) if dry_run else step.run(settings, judged, output))
