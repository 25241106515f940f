"""`nlft recipes`: the recipes that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import make_app

app = make_app(invoke_without_command=True)


@app.callback()
def recipes(context: typer.Context) -> None:
    """List the recipes that come with nlft, or copy one."""
    if context.invoked_subcommand is not None:
        return
    from nlft.pipeline.shipped import shipped_recipes

    for recipe in shipped_recipes():
        print(f"{recipe.name:<26}{recipe.title}")
        for path in recipe.files:
            print(f"    {path.name}")
    print("\nnlft recipes copy NAME copies one, with its data.")


@app.command()
def copy(
    name: Annotated[str, typer.Argument(help="Name of the recipe, as `nlft recipes` lists it.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to copy to; by default, NAME in the current folder.")
    ] = None,
) -> None:
    """Copy a recipe's files, and the data it reads, to a folder of yours."""
    from nlft.pipeline.shipped import copy_recipe

    for path in copy_recipe(name, output if output is not None else Path(name)):
        print(path)
