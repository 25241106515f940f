"""`nlft demo`: an ordinary recipe, with its teacher's responses recorded beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from rich.console import Console
from rich.text import Text

from nlft.config import read_yaml
from nlft.pipeline.run import run_recipe
from nlft.records import Scored, read_records, write_lines
from nlft.saliency_map.terminal import legend, token_view

FOLDER = Path(__file__).parent
RECIPE = FOLDER / "recipe.yaml"
TEACHER = FOLDER / "teacher.jsonl"
SETTINGS = FOLDER / "settings.yaml"


def run_demo(folder: Path, *, model: str | None = None, fresh: bool = False, console: Console | None = None) -> None:
    """Run the demo's recipe in `folder` and show what came out.

    Finished stages are not run again, so a demo that was broken off goes on where it was.

    Args:
        folder: Where everything goes.
        model: Another student than the recipe's.
        fresh: Begin anew, whatever stands in the folder.
        console: Where to print; stdout where left out.
    """
    console = console or Console()
    if fresh and (folder / "recipe.yaml").exists():  # only ever a folder that a run has made
        shutil.rmtree(folder)
    recipe = read_yaml(RECIPE)
    recipe["output"] = str(folder)
    recipe["model"] = model or recipe["model"]
    recipe["answer"]["answerer"] = f"replay:{TEACHER}"
    for section in ("score", "train"):
        recipe[section]["settings"] = str(SETTINGS)
    write_lines(folder / "demo.yaml", yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True).splitlines())
    console.print(
        f"student {recipe['model']}; problems made on the spot; responses recorded from a 1.5B teacher\n"
        f"everything goes to {folder}\n",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    report = run_recipe(folder / "demo.yaml")
    show_tokens(folder / "scored.jsonl", console)
    console.print(f"\n{report}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"saliency map: {folder / 'map.html'} (open it in a browser)", markup=False, highlight=False)


def show_tokens(scored: Path, console: Console) -> None:
    """The tokens of one correct and one incorrect response, coloured by what they are and weigh."""
    rows = list(read_records(scored, Scored))
    for correct in (True, False):
        matching = [row for row in rows if row.verdict.correct is correct]
        # One that is trained on and marks something says more than one that the filter drops.
        matching.sort(key=lambda row: (row.scores.excluded, not any(row.scores.salient)))
        if not matching:
            continue
        row = matching[0]
        console.print(Text(f"\na {'correct' if correct else 'wrong'} response ({row.id})", style="bold"))
        console.print(token_view(row))
        if row.judgment:
            console.print(Text(f"judgment: {row.judgment}", style="italic"))
        console.print(legend(correct=correct))
