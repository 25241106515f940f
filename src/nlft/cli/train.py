"""`nlft train`: train an adapter on judged responses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import DryRun, Overwrite, make_app, with_settings
from nlft.cli.output import conclude
from nlft.progress import Outcome
from nlft.train.config import TrainSettings

app = make_app()


@app.command()
@with_settings(TrainSettings)
def train(
    judged: Annotated[Path, typer.Argument(help="JSONL of judged responses.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for adapter, metrics and checkpoints.")],
    settings: TrainSettings,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the last checkpoint in -o.")] = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Fine-tune a model on judged responses."""
    if dry_run:
        from nlft.train import step

        conclude(Outcome(step.dry_run(settings, judged)))
        return
    from nlft.train.step import run

    conclude(run(settings, judged, output, resume=resume, overwrite=overwrite))
