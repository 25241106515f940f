"""`nlft answer`: responses to problems, by a local model, a server, or from a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import DryRun, Output, make_app, with_settings
from nlft.cli.output import conclude
from nlft.out_of_fold.config import OutOfFoldSettings
from nlft.progress import Outcome

app = make_app()


@app.command()
@with_settings(OutOfFoldSettings)
def answer(
    problems: Annotated[Path, typer.Argument(help="JSONL of problems: id, question, reference.")],
    output: Output,
    settings: OutOfFoldSettings,
    dry_run: DryRun = False,
) -> None:
    """Answer problems; an interrupted run resumes where it stopped."""
    from nlft.out_of_fold import step

    if dry_run:
        conclude(Outcome(step.dry_run(settings, problems, output)))
        return
    conclude(step.run(settings, problems, output))
