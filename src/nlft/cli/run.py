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
    assign: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as train.epochs=1.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the recipe and print its commands.")] = False,
) -> None:
    """Run every stage of a recipe; those finished before are not run again."""
    if dry_run:
        from nlft.pipeline.recipe import load_recipe, plan

        for stage in plan(load_recipe(recipe, assign or []), file=recipe):
            print(stage.command)
        return

    from nlft.pipeline.run import run_recipe

    print(run_recipe(recipe, assign or []))
