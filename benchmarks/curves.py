"""How the step's price beside TRL's moves with the length of the shared prompt and with the rows per step."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import Result, medians, result
from benchmarks.rows import BATCH, batches
from benchmarks.variants import default_model, nlft_step, trl_step
from nlft.evaluate.figures import COLOURS, new_figure, save_figure
from nlft.lm import load_tokenizer
from nlft.prompts import load_prompts

REPEATS = 2
LENGTHS = (20, 150, 300)  # tokens of the instruction, at four rows
WHOLE = 600  # about as many has the paper's, with its examples; `benchmarks.step` measures four rows of it
ROWS = (1, 2)  # at the whole instruction
TRL = "TRL SFTTrainer step"


def run(repeats: int = REPEATS) -> list[Result]:
    """One point per length at four rows, and per number of rows at the paper's prompt."""
    places = [(length, BATCH) for length in LENGTHS] + [(WHOLE, rows) for rows in ROWS]
    return [found for length, rows in places for found in _point(length, rows, repeats)]


def _point(length: int, rows: int, repeats: int) -> list[Result]:
    model, sets = default_model(), batches(repeats, rows)
    every = [row for batch in sets for row in batch]
    with tempfile.TemporaryDirectory() as folder:
        prompts = str(_shortened(model, length, Path(folder)))
        steps = {
            "trl": trl_step(model, prompts, every),
            "step": nlft_step(model, prompts, every),
            "once": nlft_step(model, prompts, every, scale_schedule="once"),
        }
    print(f"instruction of {length} tokens, {rows} rows", file=sys.stderr)
    middle = medians(steps, sets)
    more: dict[str, Any] = {"unit": "s", "repeats": repeats, "prompt_tokens": length, "rows": rows}
    return [
        result(f"NLFT step, `{weights}` weights", TRL, middle[weights], middle["trl"], "-", **more)
        for weights in ("step", "once")
    ]


def _shortened(model: str, length: int, folder: Path) -> Path:
    """The paper's prompt set with only the first tokens of its instruction."""
    prompts, tokenizer = load_prompts("paper"), load_tokenizer(model)
    ids = tokenizer.encode(prompts.solve, add_special_tokens=False)[:length]
    data = prompts.model_dump(exclude={"name"}) | {"solve": tokenizer.decode(ids)}
    path = folder / f"paper-{length}.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    return path


def draw(rows: list[dict[str, Any]], output: Path) -> Path:
    """The figure, from the rows of `results.json` that are points of it."""
    figure = new_figure(width=5.4, height=3.4)  # so narrow that a phone shows its text at nine pixels
    left, right = figure.subplots(1, 2, sharey=True)
    for weights, colour in (("step", COLOURS[0]), ("once", COLOURS[1])):
        own = [row for row in rows if row["what"].startswith(f"NLFT step, `{weights}` weights")]
        for axis, key, fixed in (
            (left, "prompt_tokens", ("rows", BATCH)),
            (right, "rows", ("prompt_tokens", WHOLE)),
        ):
            line = sorted((row[key], row["ratio"]) for row in own if row[fixed[0]] == fixed[1])
            axis.plot(*zip(*line, strict=True), color=colour, marker="o", markersize=4, label=f"`{weights}` weights")
    for axis in (left, right):
        axis.axhline(1, color="#444444", linestyle=":", linewidth=1)
    left.set(xlabel=f"tokens of the shared\ninstruction ({BATCH} rows)", ylabel="time of a step / TRL's SFT step")
    left.set_xticks(range(0, WHOLE + 1, 200))
    right.set(xlabel=f"rows per step ({WHOLE}\ntokens of instruction)", xticks=(*ROWS, BATCH))
    left.set_ylim(bottom=0)
    left.legend(frameon=False)
    return save_figure(figure, output)
