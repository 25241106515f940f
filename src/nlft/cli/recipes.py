"""`nlft recipes`: the recipes that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import make_app
from nlft.cli.output import conclude
from nlft.progress import Outcome

app = make_app(invoke_without_command=True)


@app.callback()
def recipes(context: typer.Context) -> None:
    """List the recipes that come with nlft, or copy one."""
    if context.invoked_subcommand is not None:
        return
    from nlft.pipeline.shipped import shipped_recipes

    rows = [
        {"name": each.name, "title": each.title, "files": [path.name for path in each.files]}
        for each in shipped_recipes()
    ]
    lines = [f"{each['name']:<26}{each['title']}" + "".join(f"\n    {file}" for file in each["files"]) for each in rows]
    conclude(Outcome("\n".join([*lines, "", "nlft recipes copy NAME copies one, with its data."]), data=rows))


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
