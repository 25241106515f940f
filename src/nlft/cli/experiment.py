"""`nlft experiment`: methods side by side; the missing cells are run, tables and figures drawn from results files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("experiment")(experiment)


def experiment(
    recipe: Annotated[Path, typer.Argument(help="YAML of an experiment; see the recipes folder.")],
    split: Annotated[str, typer.Option(help="test: each cell once; dev: while choosing.")] = "test",
    results: Annotated[
        Path | None, typer.Option(help="Folder of results files; beside the recipe if left out.")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method; may be given again.")] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as train.epochs=1.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cells and what they cost; run none.")] = False,
    tables: Annotated[bool, typer.Option("--tables", help="Only draw tables and figures anew; run none.")] = False,
) -> None:
    """Run the missing cells of an experiment; one that was killed goes on where it was."""
    from nlft.config import did_you_mean
    from nlft.errors import ConfigError
    from nlft.pipeline.cells import missing_cells, plan_cells, run_cells
    from nlft.pipeline.spec import load_experiment

    loaded = load_experiment(recipe, assign or [])
    if split not in ("dev", "test"):
        raise ConfigError(f'there is no split "{split}"', remedy=did_you_mean(split, ["dev", "test"]))
    for name in method or []:
        if name not in loaded.methods:
            raise ConfigError(f'there is no method "{name}"', file=recipe, remedy=did_you_mean(name, loaded.methods))
    folder = results if results is not None else recipe.parent / "results" / recipe.stem
    if dry_run:
        from nlft.pipeline.listing import listing

        plan_cells(loaded, split, file=recipe)  # type: ignore[arg-type]  # checked above
        print(listing(loaded, missing_cells(loaded, folder, split)))  # type: ignore[arg-type]
        return
    if not tables:
        ran = run_cells(loaded, folder, split, file=recipe, methods=method)  # type: ignore[arg-type]
        print(f"{ran} cells run, {len(missing_cells(loaded, folder, split))} missing")  # type: ignore[arg-type]

    from nlft.pipeline.report import write_report

    written = write_report(loaded, folder, split)  # type: ignore[arg-type]
    for path in written:
        if path.suffix == ".csv":
            continue
        print(path)
    if not written:
        print("no results yet")
