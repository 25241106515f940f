"""`nlft choose`: which method suits your rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from nlft.choose.config import ChooseSettings
from nlft.cli.options import AllowCode, Assignments, DryRun, make_app, with_settings
from nlft.cli.output import conclude

app = make_app()


@app.command()
@with_settings(ChooseSettings)
def choose(
    judged: Annotated[Path, typer.Argument(help="JSONL of judged rows, as `nlft judge` writes them.")],
    settings: ChooseSettings,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; runs/choose-NAME by default.")
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Training runs in parallel, each on its own GPU or share of the CPU.")
    ] = 1,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a long run.")] = False,
    assign: Assignments = None,
    dry_run: DryRun = False,
    allow_code: AllowCode = False,
) -> None:
    """Compare training methods on folds of your rows, and write a recipe for the one to take.

    Every candidate is trained for as many steps, and evaluated on questions it was not trained on. The recommendation
    tells which candidates the data do not tell apart. It resumes where it stopped.
    """
    from nlft.choose.step import run

    def agree(cost: str) -> bool:
        return yes or (sys.stdin.isatty() and typer.confirm("Begin?", err=True))

    folder = output if output is not None else Path("runs") / f"choose-{judged.stem}"
    conclude(run(settings, judged, folder, agree=agree, assignments=assign or [], jobs=jobs, dry_run=dry_run))
