"""`nlft compare`: the paired difference of evaluations on the same problems."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nlft.cli.options import make_app
from nlft.cli.output import conclude
from nlft.progress import Outcome

if TYPE_CHECKING:
    from nlft.evaluate import Comparison

app = make_app()


@app.command()
def compare(
    evaluations: Annotated[
        list[Path],
        typer.Argument(
            help="Two or more eval.json files; or samples that lm-eval or Inspect logged, or rows of `nlft grade`. The "
            "first is the baseline."
        ),
    ],
    grader: Annotated[
        str | None, typer.Option(help="strict or flexible, or a measure of the log; all by default.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the numbers to this JSON file.")
    ] = None,
) -> None:
    """Compare evaluations problem by problem: exact McNemar, paired bootstrap, Holm correction for several."""
    import json

    from nlft.errors import ConfigError
    from nlft.evaluate.logs import compare_runs, is_log, read_run
    from nlft.evaluate.table import comparison_table
    from nlft.files import names_of, refuse_same_file, write_lines

    if len(evaluations) < 2:
        raise ConfigError("nothing to compare with", remedy="name at least two eval.json files")
    if output is not None:
        for path in evaluations:
            refuse_same_file(path, output)
    logs = [path.is_file() and is_log(path) for path in evaluations]
    if any(logs) and not all(is_log(path) for path in evaluations):  # which names a file that is missing
        told = "evaluations of nlft and logs of samples name their problems differently"
        raise ConfigError(told, remedy="compare evaluations with evaluations, and logs with logs")
    names = names_of(evaluations)
    if logs[0]:
        comparisons = compare_runs([read_run(path) for path in evaluations], names, grader)
    else:
        comparisons = _evaluations(evaluations, names, grader)
    conclude(Outcome(comparison_table(comparisons).text(), data=comparisons))
    if output is not None:
        rows = [comparison.model_dump(mode="json") for comparison in comparisons]
        write_lines(output, [json.dumps(rows, indent=2, ensure_ascii=False)])


def _evaluations(paths: list[Path], names: list[str], grader: str | None) -> list[Comparison]:
    """Evaluations by `nlft evaluate` against the first."""
    from nlft.config import did_you_mean
    from nlft.errors import ConfigError
    from nlft.evaluate import compare_many, read_evaluation
    from nlft.evaluate.evaluation import GRADERS

    if grader is not None and grader not in GRADERS:
        raise ConfigError(f'there is no grader "{grader}"', remedy=did_you_mean(grader, GRADERS))
    first, *others = [read_evaluation(path) for path in paths]
    return [
        comparison
        for each in GRADERS
        if grader in (None, each)
        for comparison in compare_many(first, dict(zip(names[1:], others, strict=True)), grader=each, name=names[0])
    ]
