"""The small steps between the stages: choose the training rows, the dev problems and the best round."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from nlft.answer.selection import deduplicate, limit_incorrect, mix
from nlft.config import Config
from nlft.errors import DataError
from nlft.evaluate import read_evaluation
from nlft.progress import Outcome
from nlft.records import Judged, Problem, Verdict, read_records, write_records

__all__ = [
    "Mixture",
    "Rows",
    "RowsSettings",
    "best_file",
    "best_round",
    "leave_out_file",
    "rows_file",
    "select_file",
    "select_rows",
]

Rows = Literal["all", "correct", "correct-or-reference"]


class RowsSettings(Config):
    """The training rows of one method and size."""

    rows: Rows = Field(description="all, only correct, or all with the standard answer for incorrect ones")
    size: int = Field(ge=1, description="number of rows, from the first")


class Mixture(Config):
    """The mix of own answers and teacher's answers that a round of self-study trains on."""

    incorrect_share: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="maximum share of incorrect examples; more of them slow learning (paper 6.1)",
    )
    teacher_share: float = Field(
        default=0.0, ge=0, le=1, description="share of the first training's rows to mix into each round"
    )
    seed: int = Field(default=0, ge=0, description="seed for choosing the rows")


def rows_file(settings: RowsSettings, judged: Path, output: Path) -> Outcome:
    """Write the training rows of a method and size.

    Raises:
        DataError: if there are too few rows.
    """
    rows = list(read_records(judged, Judged))
    if settings.size > len(rows):
        raise DataError(
            f"the recipe asks for {settings.size} training rows, but there are {len(rows)}",
            file=judged,
            remedy="lower `sizes`, or raise `n` in the section `data`",
        )
    return Outcome(f"{write_records(output, select_rows(rows[: settings.size], settings.rows))} rows -> {output}")


def select_rows(rows: Sequence[Judged], which: Rows) -> list[Judged]:
    """All rows; the correct ones; or all, with the standard answer in place of an incorrect response."""
    if which == "all":
        return list(rows)
    if which == "correct":
        return [row for row in rows if row.verdict.correct]
    right = Verdict(correct=True, reason="the standard answer, in place of an incorrect response")
    replaced = {"verdict": right, "judgment": None, "finish_reason": "stop"}
    return [
        row if row.verdict.correct else row.model_copy(update={**replaced, "response": row.reference}) for row in rows
    ]


def leave_out_file(settings: Config, pool: Path, trained: Path, output: Path) -> Outcome:
    """Write the dev problems: those in the pool that are not training problems.

    Raises:
        DataError: if none is left.
    """
    known = {row.id for row in read_records(trained, Problem)}
    rows = [row for row in read_records(pool, Problem) if row.id not in known]
    if not rows:
        raise DataError(
            "every dev problem is also a training problem", file=pool, remedy="give `dev` other problems, or more"
        )
    return Outcome(f"{write_records(output, rows)} rows -> {output}")


def select_file(settings: Mixture, own: Path, teacher: Path, output: Path) -> Outcome:
    """Write a round's training rows: its own answers without duplicates, few incorrect ones, and the teacher's share.

    Raises:
        DataError: if nothing is left to train on.
    """
    student = limit_incorrect(deduplicate(read_records(own, Judged)), settings.incorrect_share, seed=settings.seed)
    chosen = mix(student, list(read_records(teacher, Judged)), settings.teacher_share, seed=settings.seed)
    if not chosen:
        raise DataError(
            "this round has no rows to train on: no answer is correct",
            file=own,
            remedy="raise samples, incorrect_share or teacher_share in the section `rounds`, or lower k",
        )
    times = Counter(row.id for row in chosen)  # a teacher's row may have the id of a student's
    unique = [
        row if times[row.id] == 1 else row.model_copy(update={"id": f"{row.id}@{place}"})
        for place, row in enumerate(chosen)
    ]
    return Outcome(f"{write_records(output, unique)} rows -> {output}")


def best_file(settings: Config, *paths: Path) -> Outcome:
    """Copy the adapter of the best round: `paths` are the evaluations, their adapters, and the target folder."""
    *read, best = paths
    evaluations, adapters = read[: len(read) // 2], read[len(read) // 2 :]
    number = best_round(evaluations)
    best.mkdir(parents=True, exist_ok=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(adapters[number] / name, best / name)
    return Outcome(f"round {number} did best on the dev problems: {best}")


def best_round(evaluations: Sequence[Path]) -> int:
    """The round with the most dev problems solved, by the last number; the earliest in case of a tie."""
    solved = [read_evaluation(path, with_rows=False).flexible.count for path in evaluations]
    return solved.index(max(solved))
