"""`nlft experiment`: compare methods; run the missing cells, then draw tables and figures from results files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from nlft.cli.options import AllowCode, Assignments, DryRun, make_app

app = make_app()


@app.command()
def experiment(
    recipe: Annotated[Path, typer.Argument(help="Experiment recipe (YAML); `nlft recipes` lists those that ship.")],
    split: Annotated[
        Literal["test", "dev"], typer.Option(help="test (each cell once) or dev (while you make choices).")
    ] = "test",
    results: Annotated[
        Path | None, typer.Option(help="Folder for results files; next to the recipe by default.")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="Run only this method; repeatable.")] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Training runs in parallel, each on its own GPU or share of the CPU.")
    ] = 1,
    assign: Assignments = None,
    dry_run: DryRun = False,
    allow_code: AllowCode = False,
    tables: Annotated[bool, typer.Option("--tables", help="Only redraw tables and figures.")] = False,
) -> None:
    """Run the missing cells of an experiment; an interrupted one resumes where it stopped."""
    from nlft.config import did_you_mean
    from nlft.errors import ConfigError
    from nlft.pipeline.cells import missing_cells, run_cells
    from nlft.pipeline.estimate import listing
    from nlft.pipeline.experiment import load_experiment
    from nlft.pipeline.plan import plan_cells
    from nlft.pipeline.report import write_report

    loaded = load_experiment(recipe, assign or [])
    for name in method or []:
        if name not in loaded.methods:
            raise ConfigError(f'there is no method "{name}"', file=recipe, remedy=did_you_mean(name, loaded.methods))
    folder = results if results is not None else recipe.parent / "results" / recipe.stem
    if dry_run:
        plan_cells(loaded, split, file=recipe)
        print(listing(loaded, split, missing_cells(loaded, folder, split)))
        return
    if not tables:
        ran = run_cells(loaded, folder, split, file=recipe, methods=method, jobs=jobs)
        print(f"{ran} cells run, {len(missing_cells(loaded, folder, split))} missing")
    written = write_report(loaded, folder, split)
    for path in written:
        if path.suffix != ".csv":
            print(path)
    if not written:
        print("no results yet")
