"""`nlft run`: a recipe from problems to the two accuracies, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("run")(run)


def run(
    recipe: Annotated[Path, typer.Argument(help="YAML: one section per stage, its keys the command's options.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the recipe and print its commands.")] = False,
) -> None:
    """Run every stage of a recipe; those finished before are not run again."""
    from nlft.experiment.recipe import load_recipe, plan

    stages = plan(load_recipe(recipe), file=recipe)
    if dry_run:
        for stage in stages:
            print(stage.command)
        return

    from nlft.experiment.run import run_recipe, summarise

    folder = run_recipe(recipe)
    print(summarise(folder, stages))
    print(f"\nreport: {folder / 'report.md'}")
