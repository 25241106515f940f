"""`nlft demo`: the whole pipeline on a small real model, in minutes, without a key or a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import make_app
from nlft.cli.output import conclude
from nlft.progress import Outcome

app = make_app()


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Output folder.")] = Path("nlft-demo"),
    model: Annotated[str | None, typer.Option("--model", "-m", help="Student model, instead of SmolLM2-135M.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over, replacing an earlier demo.")] = False,
) -> None:
    """Teach a 135M model a few kinds of word problem; show accuracy before and after, and what each token is worth."""
    from rich.console import Console

    from nlft.demo import run_demo, show_demo
    from nlft.pipeline.run import evaluations_in

    report = run_demo(output, model=model, fresh=fresh)
    data = {"folder": output, "evaluations": evaluations_in(output)}
    conclude(Outcome(report, data=data), show=lambda: show_demo(output, report, Console()))
