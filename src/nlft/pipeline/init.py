"""`nlft init`: look at a file of questions and answers, and write a recipe that says what it takes them for."""

from __future__ import annotations

import os
import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nlft.data.config import InitSettings
from nlft.data.load import Reader
from nlft.data.schemas import likely_columns, schema_of
from nlft.errors import ConfigError, DataError
from nlft.files import write_lines
from nlft.grade.fields import reference_json
from nlft.grade.label import Labels, split_labels
from nlft.grade.numeric import MARKER, reference_value
from nlft.pipeline.recipe import load_recipe
from nlft.progress import Outcome, duration
from nlft.prompts import load_prompts
from nlft.records import Problem
from nlft.tasks import TASKS, TaskName

MOST_LABELS, LABEL_WORDS = 50, 6
MOST_HELD_OUT = 200
# Two CPU cores: floating-point operations per second in training, and of generated tokens times parameters.
TRAINING, GENERATING = 4e11, 4e10
EPOCHS, RATE = 4, 5e-4
WHY_SFT = (
    "Plain SFT on the standard answers did best where they have the form you want (recipes/classification). `nlft choose`",
    "compares the methods on your own judged rows; NLFT learns from the responses and their judgments:",
)
BARE = (
    "The standard answers are bare numbers, so the student learns to answer without steps. Where a problem takes several,",
    "worked answers that end in a line `#### number` teach more (docs/choosing.md).",
)


@dataclass(frozen=True)
class Guess:
    """What rows look like: the task, and what says so, in words for a comment."""

    task: TaskName
    why: str


def guess(rows: Sequence[Problem]) -> Guess:
    """The task of these rows, from their standard answers.

    >>> rows = [Problem(id=str(i), question="q", reference="refund" if i % 2 else "other") for i in range(8)]
    >>> guess(rows).why
    '2 labels in 8 rows: other (4), refund (4)'
    """
    references = [row.reference for row in rows]
    if all("tests" in (row.model_extra or {}) for row in rows):
        return Guess("code", f"all {len(rows)} rows have a column tests")
    if (fields := _fields(references)) is not None:
        return Guess(
            "json", f"all {len(rows)} standard answers are JSON objects, with the fields {', '.join(fields)}"[:300]
        )
    labels = Counter(label for reference in references for label in split_labels(reference))
    short = all(len(label.split()) <= LABEL_WORDS for label in labels) and not any("####" in r for r in references)
    if short and 1 < len(labels) <= min(MOST_LABELS, len(rows) // 3) and _are_labels(references):
        told = ", ".join(f"{label} ({count})" for label, count in sorted(labels.items(), key=lambda each: -each[1]))
        return Guess("label", f"{len(labels)} labels in {len(rows)} rows: {told}"[:300])
    numbers = sum(_is_number(reference) for reference in references)
    if numbers >= 0.9 * len(rows):
        return Guess("math", f"{numbers} of {len(rows)} standard answers are numbers, or end in one after {MARKER}")
    return Guess("text", "the standard answers are neither JSON, nor a few labels, nor numbers")


def _fields(references: Sequence[str]) -> list[str] | None:
    found: dict[str, None] = {}
    for reference in references:
        try:
            value = reference_json(reference)
        except DataError:
            return None
        if not isinstance(value, dict):
            return None
        found |= dict.fromkeys(value)
    return list(found)


def _are_labels(references: Sequence[str]) -> bool:
    try:
        Labels.of(references)
    except DataError:
        return False
    return True


def _is_number(reference: str) -> bool:
    if MARKER not in reference and len(reference) > 20:
        return False
    try:
        reference_value(reference)
    except DataError:
        return False
    return True


def run(settings: InitSettings, output: Path | None = None) -> Outcome:
    """Write a recipe beside the file, and its prompts.

    Args:
        settings: The file.
        output: The recipe; the file's name with .yaml if None.

    Raises:
        ConfigError: if a file would be overwritten, or the rows are too few to hold some out.
        DataError: for a file that cannot be read, or without a question and an answer.
    """
    source = Path(settings.source)
    recipe = output if output is not None else source.with_suffix(".yaml")
    prompts = recipe.with_name(f"{recipe.stem}.prompts.yaml")
    for path in (recipe, prompts):
        if path.exists():
            raise ConfigError("this already exists", file=path, remedy="choose another name with -o, or move it")
    columns = settings.map or _columns(settings.source)
    rows = [record for _, record in Reader(settings.source, columns=columns).records()]
    if len(rows) < 2:
        raise ConfigError(f"{len(rows)} rows are too few to hold some out", file=source, remedy="give at least ten")
    found = guess(rows)
    if (settings.task or found.task) == "text":
        remedy = "say what it is with --task, or grade by a rubric: see docs/answers-grades-judgments.md"
        raise ConfigError(
            f"these rows are free text, which has no recipe of its own: {found.why}", file=source, remedy=remedy
        )
    told = found if settings.task in (None, found.task) else Guess(settings.task, "as --task says")
    written = [recipe]
    if (words := _instruction(told.task, rows)) is not None:
        write_lines(prompts, _prompt_lines(told.task, words))
        written.append(prompts)
    write_lines(recipe, _recipe_lines(settings, columns, rows, told, recipe, prompts if words is not None else None))
    load_recipe(recipe)
    note = BARE if told.task == "math" and words is not None else ()
    lines = [f"taken for the task {told.task}: {told.why}", *note, *map(str, written), f"next: nlft run {recipe}"]
    return Outcome("\n".join(lines))


def _columns(source: str) -> dict[str, str]:
    """The columns that hold question and answer, where they have names of their own."""
    _, row = next(iter(Reader(source).rows()), (0, {}))
    try:
        schema_of(row)
    except DataError:
        if (found := likely_columns(row)) is not None:
            return found
        raise
    return {}


def _instruction(task: TaskName, rows: Sequence[Problem]) -> str | None:
    """What the student is told to do, with the labels or fields of these rows; None where the task's own words do."""
    if task == "label":
        names = sorted({label for row in rows for label in split_labels(row.reference)})
        several = any(len(split_labels(row.reference)) > 1 for row in rows)
        which = "Its labels are one or more of" if several else "Its label is one of"
        answer = "the labels alone, with semicolons between them" if several else "the label alone"
        return f"Classify the message. {which}: {', '.join(names)}. Answer with {answer}."
    if task == "json":
        fields = _fields([row.reference for row in rows]) or []
        return f"Extract these fields from the text: {', '.join(fields)}. Answer with one JSON object and nothing else."
    if task == "math" and all(MARKER not in row.reference for row in rows):  # numbers, without the steps to them
        return "Solve the problem. Answer with the number alone."
    return None


def _own(task: TaskName) -> str:
    return "short" if task == "math" else TASKS[task].prompts


def _prompt_lines(task: TaskName, solve: str) -> list[str]:
    words = load_prompts(_own(task)).model_dump(exclude_defaults=True, exclude={"name"})
    text = yaml.safe_dump({**words, "solve": solve}, sort_keys=False, allow_unicode=True, width=110)
    return ["# What the model is told; `solve` is the instruction. Change the words as you like.", *text.splitlines()]


def _recipe_lines(
    settings: InitSettings,
    columns: dict[str, str],
    rows: Sequence[Problem],
    found: Guess,
    recipe: Path,
    prompts: Path | None,
) -> list[str]:
    held = max(1, min(MOST_HELD_OUT, len(rows) // 5))
    answered, judged = (any(getattr(row, name, None) for row in rows) for name in ("response", "judgment"))
    longest = max(len(row.reference) for row in rows)
    tokens = max(16, 8 * -(-(longest // 3 + 8) // 8))
    source = os.path.relpath(settings.source, recipe.parent)
    data = {"source": source} | ({"map": columns} if columns else {}) | {"test_n": held}
    task = TASKS[found.task]
    grader = {
        "label": "the labels are read from the data; for synonyms see docs/answers-grades-judgments.md (label:FILE)",
        "json": "order and text around the object do not count; with a schema: json:SCHEMA.json",
        "math": "the last number of the response; others: gsm8k-strict, number, math, choice, exact",
        "code": "runs the code that the model writes: nlft run ... --allow-code",
    }.get(found.task, "")
    short = {"max_new_tokens": tokens}
    lines = [
        f"# Written by `nlft init {settings.source}`. Every line is an assumption: change what does not fit.",
        *_key("name", recipe.stem),
        *_key("model", settings.model, "the student"),
        *textwrap.wrap(f"Taken for the task {found.task}: {found.why}. Other tasks: {', '.join(sorted({*TASKS} - {found.task}))}.",
                       116, initial_indent="# ", subsequent_indent="# "),
        *_key("task", found.task),
        *_key("prompts", prompts.name if prompts else _own(found.task),
              "what the model is told; edit this file" if prompts else "what the model is told"),
        *_key("seed", 0),
        *_key("data", data | {"part": "train"}, f"{len(rows)} rows, of which {held} questions are held out"),
        *_key("test", data | {"part": "test"}, "the held-out questions" + ("; few, so the intervals will be wide" if held < 50 else "")),
        *([] if answered else _key("answer", {"out_of_fold": 3, "temperature": 0.0, **short, "train": {"epochs": 3.0, "learning_rate": RATE}},
              "the student's honest errors: each fold is answered by a student trained on the others; or a teacher: {model: ...}")),
        *_key("grade", {"grader": task.grader or "gsm8k-flexible"}, grader),
        *_key("judge", None if judged else {"judge": "rule"},
              "the rows have their judgments" if judged else "says what is wrong, without a model; others: local, openai, self"),
        *(f"# {line}" for line in (*(BARE if prompts and found.task == "math" else ()), *WHY_SFT)),
        *_key("rows", "reference", "all: the responses; both: responses and standard answers"),
        *_key("train", {"objective": "sft", "epochs": float(EPOCHS), "learning_rate": RATE}),
        "# train: {objective: nlft, preset: paper, scale_schedule: once, epochs: 4.0, learning_rate: 0.0005}",
        *_key("evaluate", {"greedy": True, **short}, f"the longest standard answer has {longest} characters"),
        _estimate(settings.model, rows, held, tokens, answered),
    ]  # fmt: skip
    return lines


def _key(name: str, value: Any, comment: str = "") -> list[str]:
    text = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000).strip()
    return [f"{name}: {text[1:-1]}{f' # {comment}' if comment else ''}"]


def _estimate(model: str, rows: Sequence[Problem], held: int, tokens: int, answered: bool) -> str:
    """A first guess at the time, from the size that the model's name tells; a few times more or less is to be expected."""
    named = re.search(r"([0-9]+(?:\.[0-9]+)?)([bBmM])(?![a-zA-Z])", model)
    if named is None:
        return "# Time: unknown, because the model's name does not tell its size."
    size = float(named[1]) * (1e9 if named[2] in "bB" else 1e6)
    length = sum(len(row.question) + 2 * len(row.reference) for row in rows) / len(rows) / 4 + 60
    trained = (len(rows) - held) * (EPOCHS + (0 if answered else 2 * 3))
    seconds = trained * length * 6 * size / TRAINING + (len(rows) + 2 * held) * tokens * size / GENERATING
    return f"# Time: about {duration(seconds + 60)} on two CPU cores, as a first guess from the sizes alone."
