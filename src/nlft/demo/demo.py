"""`nlft demo`: an ordinary recipe, with its rows next to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from rich.console import Console
from rich.text import Text

from nlft.files.yaml import read_yaml
from nlft.pipeline.run import run_recipe
from nlft.progress import tell
from nlft.records import Judged, Scored, read_records
from nlft.saliency_map.terminal import legend, token_view

FOLDER = Path(__file__).parent
RECIPE = FOLDER / "recipe.yaml"


def run_demo(folder: Path, *, model: str | None = None, fresh: bool = False) -> str:
    """Run the demo's recipe in `folder`.

    It skips finished steps, so an interrupted demo resumes where it stopped.

    Args:
        folder: The output folder.
        model: The student, instead of the recipe's.
        fresh: Start over, replacing an earlier demo.

    Returns:
        The report of the run, as text.
    """
    if fresh and (folder / "recipe.yaml").exists():  # delete only folders made by a run
        shutil.rmtree(folder)
    assignments = [f"output={json.dumps(str(folder))}"]
    assignments += [f"model={json.dumps(model)}"] if model is not None else []
    tell(
        f"student {model or read_yaml(RECIPE)['model']}; 50 problems with final answers only, 10 responses right, 40 wrong "
        "with one line of words each\n"
        f"output folder: {folder}\n"
    )
    return run_recipe(RECIPE, assignments)


def show_demo(folder: Path, report: str, console: Console) -> None:
    """Print what the demo has made: coloured tokens, a revision, and the report."""
    show_tokens(folder / "scored.jsonl", console)
    show_revision(folder / "revised.jsonl", console)
    console.print(f"\n{report}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"saliency map: {folder / 'map.html'} (open it in a browser)", markup=False, highlight=False)


def show_revision(revised: Path, console: Console) -> None:
    """One wrong response, the words about it, and what the student made of them."""
    for row in read_records(revised, Judged):
        former = row.model_extra or {}
        if former.get("former_response"):
            console.print(Text(f"\na wrong response and its revision ({row.id})", style="bold"))
            console.print(Text(row.question.strip().splitlines()[-1]))
            for name, text in (
                ("response", former["former_response"]), ("judgment", former["former_judgment"]), ("revised", row.response)
            ):  # fmt: skip
                console.print(Text(f"{name}: ", style="italic") + Text(" | ".join(str(text).splitlines())))
            return


def show_tokens(scored: Path, console: Console) -> None:
    """The tokens of one correct and one incorrect response, coloured by role and scale."""
    rows = list(read_records(scored, Scored))
    for correct in (True, False):
        matching = [row for row in rows if row.verdict.correct is correct]
        # Prefer a row that is trained on and has salient tokens to one that the filter drops.
        matching.sort(key=lambda row: (row.scores.excluded, not any(row.scores.salient)))
        if not matching:
            continue
        row = matching[0]
        console.print(Text(f"\na {'correct' if correct else 'wrong'} response ({row.id})", style="bold"))
        console.print(token_view(row))
        if row.judgment:
            console.print(Text(f"judgment: {row.judgment}", style="italic"))
        console.print(legend(correct=correct))
