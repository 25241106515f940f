"""Folds: every question is asked once, of a model that was trained on the rows of all other folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from nlft.config import Config
from nlft.data.duplicates import normalised
from nlft.data.folds import fold_numbers
from nlft.progress import Outcome
from nlft.records import Judged, Problem, read_records, write_records


class Fold(Config):
    """One of several folds."""

    folds: int = Field(ge=2, description="number of folds")
    fold: int = Field(ge=0, description="the fold left out, from 0")
    seed: int = Field(default=0, ge=0, description="seed for dealing the questions out to the folds")

    def left_out(self, rows: Sequence[Judged]) -> list[bool]:
        """Whether each row is in the fold."""
        return [number == self.fold for number in fold_numbers(rows, self.folds, self.seed)]


def held_out_file(settings: Fold, judged: Path, output: Path) -> Outcome:
    """Write the problems of a fold, each question once."""
    rows = list(read_records(judged, Judged))
    held = [row for row, out in zip(rows, settings.left_out(rows), strict=True) if out]
    problems = {normalised(row.question): row for row in reversed(held)}
    later = set(Judged.model_fields) - set(Problem.model_fields) | {"scores"}
    kept = [
        Problem.model_validate(row.model_dump(exclude=later))
        for row in held
        if problems[normalised(row.question)] is row
    ]
    return Outcome(f"{write_records(output, kept)} rows -> {output}")
