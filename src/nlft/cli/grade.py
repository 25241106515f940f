"""`nlft grade`: verdicts on responses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nlft.grade import GradeReport


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("grade")(grade)


def grade(
    answers: Annotated[Path, typer.Argument(help="JSONL of attempts: id, question, reference, response.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The graded JSONL; may be left out with --explain.")
    ] = None,
    grader: Annotated[
        str,
        typer.Option(help="gsm8k-strict, gsm8k-flexible, number, choice, exact, math, or code:FILE.py. It decides."),
    ] = "gsm8k-flexible",
    explain: Annotated[
        bool, typer.Option("--explain", help="Show strict, flexible and math side by side, and where they differ.")
    ] = False,
) -> None:
    """Compare each response's final answer with the reference's.

    gsm8k-strict is GSM8K's official form, the first `#### number`. gsm8k-flexible is the last number of
    the response, wherever it stands (the convention of lm-evaluation-harness). Both are recorded for
    every row; --grader chooses the one that decides.
    """
    from importlib.util import find_spec

    from nlft.errors import ConfigError
    from nlft.grade import grade_file

    if output is None and not explain:
        raise ConfigError("there is nowhere to write the grades", remedy="give -o graded.jsonl (or --explain)")
    also = ["math"] if explain and find_spec("math_verify") else []
    report = grade_file(answers, output, grader, also)
    if explain:
        _explain(report, math=bool(also))
    share = report.correct[grader] / report.rows
    target = f" -> {output}" if output else ""
    print(f"{report.rows} rows graded, {report.correct[grader]} correct ({share:.1%}) by {grader}{target}")


def _explain(report: GradeReport, *, math: bool) -> None:
    from nlft.cli.printable import printable

    def shown(text: str | None) -> str:
        return "-" if text is None else repr(printable(text))

    for row in report.examples:
        print(f"{printable(row.id)}")
        for name, verdict in row.grades.items():
            mark = "correct" if verdict.correct else "wrong"
            print(f"  {name:<16}{mark:<9}{shown(verdict.extracted)}: {printable(verdict.reason)}")
    if report.differing > len(report.examples):
        print(f"... and {report.differing - len(report.examples)} more rows on which the graders differ")
    print(f"{'grader':<18}{'correct':>8}{'of':>8}")
    for name, ran in report.ran.items():
        print(f"{name:<18}{report.correct[name]:>8}{ran:>8}")
    print(f"the graders differ on {report.differing} of {report.rows} rows")
    if not math:
        print('(math is not shown: pip install "nlft[math]")')
