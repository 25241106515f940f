"""`nlft export`: from an adapter to what a server loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import Overwrite, make_app, with_settings
from nlft.cli.output import conclude
from nlft.export.config import ExportSettings

app = make_app()


@app.command()
@with_settings(ExportSettings)
def export(
    adapter: Annotated[Path, typer.Argument(help="Folder of an adapter, as `nlft train` writes it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    settings: ExportSettings,
    overwrite: Overwrite = False,
) -> None:
    """Merge an adapter into its base model, or copy it for a server, and print the commands that serve it.

    A merged model answers dev problems beside the adapter; if it answers otherwise than the rounding of merged weights
    explains, it is refused.
    """
    from nlft.export.step import run

    conclude(run(settings, adapter, output, overwrite=overwrite))
