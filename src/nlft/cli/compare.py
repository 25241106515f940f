"""`nlft compare`: the paired difference of evaluations on the same problems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import make_app

app = make_app()


@app.command()
def compare(
    evaluations: Annotated[list[Path], typer.Argument(help="Two or more eval.json files; the first is the baseline.")],
    grader: Annotated[str | None, typer.Option(help="strict or flexible; both by default.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the numbers to this JSON file.")
    ] = None,
) -> None:
    """Compare evaluations problem by problem: exact McNemar, paired bootstrap, Holm correction for several."""
    import json

    from nlft.config import did_you_mean
    from nlft.errors import ConfigError
    from nlft.evaluate import compare_many, read_evaluation
    from nlft.evaluate.evaluation import GRADERS
    from nlft.evaluate.table import comparison_table
    from nlft.files import refuse_same_file
    from nlft.records import write_lines

    if len(evaluations) < 2:
        raise ConfigError("nothing to compare with", remedy="name at least two eval.json files")
    if grader is not None and grader not in GRADERS:
        raise ConfigError(f'there is no grader "{grader}"', remedy=did_you_mean(grader, GRADERS))
    if output is not None:
        for path in evaluations:
            refuse_same_file(path, output)
    names = _names(evaluations)
    first, *others = [read_evaluation(path) for path in evaluations]
    comparisons = [
        comparison
        for each in GRADERS
        if grader in (None, each)
        for comparison in compare_many(first, dict(zip(names[1:], others, strict=True)), grader=each, name=names[0])
    ]
    print(comparison_table(comparisons).text())
    if output is not None:
        rows = [comparison.model_dump(mode="json") for comparison in comparisons]
        write_lines(output, [json.dumps(rows, indent=2, ensure_ascii=False)])


def _names(paths: list[Path]) -> list[str]:
    """Short names that tell the files apart: the stem where it does, else the whole path."""
    stems = [path.stem for path in paths]
    names = stems if len(set(stems)) == len(stems) else [path.as_posix() for path in paths]
    return [f"{name} ({i + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]
