"""`nlft score`: what each token of the responses is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import Output, make_app, with_settings
from nlft.cli.output import conclude
from nlft.score.config import ScoreSettings

app = make_app()


@app.command()
@with_settings(ScoreSettings)
def score(
    judged: Annotated[Path, typer.Argument(help="JSONL of judged responses.")],
    output: Output,
    settings: ScoreSettings,
) -> None:
    """Compute each token's probabilities on the three paths, and what it is worth."""
    from nlft.score.step import run

    conclude(run(settings, judged, output))
