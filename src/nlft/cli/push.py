"""`nlft push`: an adapter or a model, with its card, to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import make_app, with_settings
from nlft.cli.output import conclude
from nlft.export.config import PushSettings

app = make_app()


@app.command()
@with_settings(PushSettings)
def push(
    folder: Annotated[Path, typer.Argument(help="Folder that `nlft train` or `nlft export` wrote.")],
    repo: Annotated[str, typer.Argument(help="Repository on the hub: OWNER/NAME.")],
    settings: PushSettings,
) -> None:
    """Show what would be published on the Hugging Face hub, and its model card; with --upload, publish it."""
    from nlft.export.push import run

    conclude(run(settings, folder, repo))
