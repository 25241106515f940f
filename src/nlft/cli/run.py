"""`nlft run`: a resumable run of a recipe, from the problems to accuracy before and after training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import AllowCode, Assignments, DryRun, make_app
from nlft.cli.output import conclude
from nlft.progress import Outcome

app = make_app()


@app.command()
def run(
    recipe: Annotated[
        Path, typer.Argument(help="Recipe (YAML): one section per stage; its keys are that stage's settings.")
    ],
    assign: Assignments = None,
    dry_run: DryRun = False,
    allow_code: AllowCode = False,
) -> None:
    """Run every step of a recipe, skipping finished ones."""
    if dry_run:
        from nlft.pipeline.plan import plan
        from nlft.pipeline.recipe import load_recipe

        loaded = load_recipe(recipe, assign or [])
        steps = [step.describe(loaded.folder) for step in plan(loaded)]
        conclude(Outcome("\n".join(steps), data=steps))
        return

    from nlft.pipeline.recipe import load_recipe
    from nlft.pipeline.run import evaluations_in, run_recipe

    report = run_recipe(recipe, assign or [])
    folder = load_recipe(recipe, assign or []).folder
    conclude(Outcome(report, data={"folder": folder, "evaluations": evaluations_in(folder)}))
