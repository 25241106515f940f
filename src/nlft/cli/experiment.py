"""`nlft experiment`: compare methods; run the missing cells, then draw tables and figures from results files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from nlft.cli.options import AllowCode, Assignments, DryRun, make_app
from nlft.cli.output import conclude
from nlft.progress import Outcome

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
    from nlft.pipeline.experiment import cells, load_experiment
    from nlft.pipeline.plan import plan_cells
    from nlft.pipeline.report import write_report
    from nlft.pipeline.results import read_results

    loaded = load_experiment(recipe, assign or [])
    for name in method or []:
        if name not in loaded.methods:
            raise ConfigError(f'there is no method "{name}"', file=recipe, remedy=did_you_mean(name, loaded.methods))
    folder = results if results is not None else recipe.parent / "results" / recipe.stem
    if dry_run:
        plan_cells(loaded, split, file=recipe)
        missing = missing_cells(loaded, folder, split)
        conclude(Outcome(listing(loaded, split, missing), data={"missing": [cell.id for cell in missing]}))
        return
    lines = []
    if not tables:
        ran = run_cells(loaded, folder, split, file=recipe, methods=method, jobs=jobs)
        lines.append(f"{ran} cells run, {len(missing_cells(loaded, folder, split))} missing")
    written = write_report(loaded, folder, split)
    lines += [str(path) for path in written if path.suffix != ".csv"] or ["no results yet"]
    found = read_results(folder, split, cells(loaded, split))
    conclude(
        Outcome("\n".join(lines), data={"written": written, "results": {cell.id: each for cell, each in found.items()}})
    )
