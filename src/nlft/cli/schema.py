"""`nlft schema`: the JSON Schema of a recipe, so that an editor completes and checks it."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from nlft.cli.options import make_app

app = make_app()


@app.command()
def schema(
    kind: Annotated[
        Literal["run", "experiment"], typer.Argument(help="A recipe of `nlft run` or `nlft experiment`.")
    ] = "run",
) -> None:
    """Print the JSON Schema of a recipe."""
    import json

    from nlft.pipeline.schema import recipe_schema

    print(json.dumps(recipe_schema(kind), indent=2, ensure_ascii=False))
