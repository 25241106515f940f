"""`nlft grade`: verdicts on responses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import AllowCode, make_app, with_settings
from nlft.cli.output import conclude
from nlft.errors import ConfigError
from nlft.grade.config import GradeSettings

app = make_app()


@app.command()
@with_settings(GradeSettings)
def grade(
    answers: Annotated[Path, typer.Argument(help="JSONL of attempts: id, question, reference, response.")],
    settings: GradeSettings,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSONL file to write; optional with --explain.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show strict, flexible and math side by side, and where they differ.")
    ] = False,
    allow_code: AllowCode = False,
) -> None:
    """Compare each response's final answer with the reference.

    gsm8k-strict is GSM8K's official form, the first `#### number`. gsm8k-flexible is the last number in
    the response, wherever it is (the convention of lm-evaluation-harness). Both are recorded for every
    row; --grader chooses the one that decides.
    """
    from dataclasses import replace

    from nlft.evaluate.teachers import teachers_in, teachers_table
    from nlft.grade.step import run
    from nlft.records import Graded, read_records

    if output is None and not explain:
        raise ConfigError("no output given", remedy="add -o graded.jsonl or --explain")
    outcome = run(settings, answers, output, explain=explain)
    if output is not None and (teachers := teachers_in(read_records(output, Graded))):
        text = f"{outcome.text}\n{teachers_table(teachers).text()}"
        outcome = replace(outcome, text=text, data={**vars(outcome.data), "teachers": teachers})
    conclude(outcome)
