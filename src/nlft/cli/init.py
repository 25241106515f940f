"""`nlft init`: a recipe for a file of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import make_app, with_settings
from nlft.cli.output import conclude
from nlft.data.config import InitSettings

app = make_app()


@app.command()
@with_settings(InitSettings, operands=["source"])
def init(
    settings: InitSettings,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Recipe to write; by default beside the file, with .yaml.")
    ] = None,
) -> None:
    """Look at a file of questions and answers, and write a recipe for it that `nlft run` takes as it is."""
    from nlft.pipeline.init import run

    conclude(run(settings, output))
