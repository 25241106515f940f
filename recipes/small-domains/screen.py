"""Screening on the development problems: one training run and one evaluation per cell; resumes.

    OMP_NUM_THREADS=1 python recipes/small-domains/screen.py MODEL FOLDER --domain sums --form worked \
        [--method cut] [--rate 1e-3] [--draw 1] [--steps 52] [--rows 50] [--problems 100] [--table]

Without --method or --rate it runs all of them. Each cell writes FOLDER/NAME.json and .jsonl, as
`nlft evaluate` does; a finished cell is not run again. Every method has the same number of steps.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from draws import DEV_SEED, DOMAINS, draw, training_rows

from nlft.answer import LocalAnswerer
from nlft.evaluate import evaluate, read_evaluation
from nlft.lm import SamplingSettings, load_model
from nlft.lm.config import LoadSettings
from nlft.pipeline.select import select_rows
from nlft.prompts import load_prompts
from nlft.records import Judged
from nlft.steps.step_weights import with_step_weights
from nlft.train import NLFTConfig, train

RATES = (3e-4, 1e-3, 3e-3)
# rows: see `nlft.pipeline.select`
METHODS: dict[str, dict[str, Any]] = {
    "sft-response": {"objective": "sft"},
    "sft-correct": {"objective": "sft", "rows": "correct"},
    "sft-mixed": {"objective": "sft", "rows": "correct-or-reference"},
    "sft-reference": {"objective": "sft", "rows": "reference"},
    "sft-both": {"objective": "sft", "rows": "both"},
    "cut": {"objective": "cut", "options": {"threshold": 1.2}},
    "nlft-authors": {"objective": "nlft", "preset": "authors"},
    "first-error": {"objective": "first-error"},
    # Beyond the first table: one thing changed at a time, or standard answers added.
    "prefix-only": {"objective": "first-error", "options": {"weight": 0.0}},
    "first-error-step": {"objective": "first-error", "options": {"threshold": 0.0}},
    # The judgment quotes the whole step and so makes all of it likelier, also the operands that are right: these push
    # down the value alone, or only what the standard answer does not make likelier too.
    "first-error-value": {"objective": "first-error", "narrow": True},
    # As first-error-value, with likelihood on all the rest: what follows a slip follows from it, and its plan is right.
    "value-only": {"objective": "first-error", "narrow": True, "after": 1.0},
    "first-error-contrast": {"objective": "first-error", "options": {"standard_threshold": 1.2}},
    "clipped-ratio": {"objective": "clipped-ratio"},
    "first-error-both": {"objective": "first-error", "rows": "both"},
    "first-error-mixed": {"objective": "first-error", "rows": "mixed-and-wrong"},
    "cut-both": {"objective": "cut", "options": {"threshold": 1.2}, "rows": "both"},
}


def rows_for(rows: list[Judged], which: str) -> list[Judged]:
    """The training rows of a method: as `rows` in a recipe says, or the standard answers and the wrong responses too."""
    if which == "mixed-and-wrong":
        wrong = (wrong_beside(row) for row in rows if not row.verdict.correct)
        return [*select_rows(rows, "correct-or-reference"), *wrong]
    return select_rows(rows, which)  # type: ignore[arg-type]


def wrong_beside(row: Judged) -> Judged:
    """The same row under an id of its own."""
    return row.model_copy(update={"id": row.id + "#wrong"})


def run_cell(args: argparse.Namespace, method: str, rate: float, output: Path) -> None:
    """Train, evaluate, and keep the summary; the adapter is deleted."""
    settings = METHODS[method]
    lm = load_model(args.model, dtype=args.train_dtype)
    rows = rows_for(
        training_rows(args.domain, args.rows, args.draw, args.form, args.mixture), settings.get("rows", "all")
    )
    if settings["objective"] in ("first-error", "clipped-ratio"):
        narrow, after = settings.get("narrow", False), settings.get("after", 0.0)
        rows = with_step_weights(rows, lm.tokenizer, narrow=narrow, after=after)
    adapter = output.with_suffix(f".{os.getpid()}.adapter")  # two processes may try the same cell
    config = NLFTConfig(
        str(adapter),
        objective=settings["objective"],
        objective_options=settings.get("options", {}),
        preset=settings.get("preset", "paper"),
        prompts="short",
        learning_rate=rate,
        max_steps=args.steps,
        save_strategy="no",
        seed=args.seed,
    )
    start = time.perf_counter()
    result = train(rows, lm, config, overwrite=True)
    trained = time.perf_counter() - start
    problems = draw(args.domain, args.problems, DEV_SEED, args.form)
    sampling = SamplingSettings(temperature=0.0, max_new_tokens=200, batch_size=50)
    # In half precision, merging the adapter into the weights would round most of it away.
    answerer = LocalAnswerer(args.model, sampling, adapter=str(adapter), load=LoadSettings(dtype="float32"))
    evaluate(problems, answerer, load_prompts("short"), output=output, overwrite=True)
    facts = vars(args) | {"method": method, "rate": rate, "rows": result.rows, "steps": result.steps}
    facts |= {"loss": result.loss, "train_seconds": trained, "seconds": time.perf_counter() - start}
    output.with_suffix(".cell").write_text(json.dumps(facts, default=str), "utf-8")
    shutil.rmtree(adapter)


def table(folder: Path, domain: str, form: str) -> None:
    """Print the results so far, one line per cell."""
    for file in sorted(folder.glob(f"{domain}-{form}-*.json")):
        found = read_evaluation(file, with_rows=False)
        flexible, low, high = found.flexible, *found.flexible.interval
        print(
            f"{file.stem:<48} flexible {flexible.count:>3}/{found.n} ({100 * low:4.1f} to {100 * high:4.1f})"
            f"  strict {found.strict.count:>3}  in format {found.formatted.count:>3}  cut {found.hit_length.count}"
        )


def main() -> None:
    """Run the missing cells, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--domain", required=True, choices=list(DOMAINS))
    parser.add_argument("--form", default="worked", choices=["worked", "final"])
    parser.add_argument("--mixture", default="teacher")
    parser.add_argument("--method", action="append", choices=list(METHODS))
    parser.add_argument("--rate", action="append", type=float)
    parser.add_argument("--draw", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--steps", type=int, default=52)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--train-dtype", default="auto", help="of the frozen weights; the adapter is float32")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.table:
        return table(args.folder, args.domain, args.form)
    args.folder.mkdir(parents=True, exist_ok=True)
    for rate in args.rate or RATES:
        for method in args.method or list(METHODS)[:8]:
            name = f"{args.domain}-{args.form}-{args.mixture}-{args.rows}-d{args.draw}-s{args.seed}-{method}-{rate:g}"
            output = args.folder / f"{name}.json"
            if not output.is_file():
                run_cell(args, method, rate, output)
                print(name, json.loads(output.with_suffix(".cell").read_text("utf-8"))["seconds"], flush=True)


if __name__ == "__main__":
    main()
