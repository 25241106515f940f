"""`nlft evaluate`: the accuracy of any answerer on a file of problems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import AllowCode, Overwrite, make_app, with_settings
from nlft.cli.output import conclude
from nlft.evaluate.config import EvaluateSettings

app = make_app()


@app.command()
@with_settings(EvaluateSettings)
def evaluate(
    problems: Annotated[Path, typer.Argument(help="JSONL of problems: id, question, reference.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="JSON summary; its rows go to a .jsonl file next to it.")
    ],
    settings: EvaluateSettings,
    overwrite: Overwrite = False,
    allow_code: AllowCode = False,
) -> None:
    """Measure accuracy on problems; write a summary with intervals, and every row."""
    from nlft.evaluate.step import run

    conclude(run(settings, problems, output, overwrite=overwrite))
