"""Results files: one small JSON per cell, with everything that tables, figures and paired tests need."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, ValidationError

from nlft.config import Config
from nlft.errors import DataError
from nlft.evaluate import Evaluation
from nlft.evaluate.evaluation import GRADERS, Grade, strip_computed
from nlft.files import write_lines
from nlft.pipeline.experiment import Cell

RESULTS_VERSION = 2


class Training(Config):
    """What a cell's training cost."""

    rows: int
    steps: int | None = None
    seconds: float = Field(description="wall-clock time of the training loop")
    epochs: float = Field(description="epochs trained, up to the end of the run")
    peak_memory_mb: float | None = Field(description="peak resident memory of the training process")
    tokens_per_second: float | None = None
    command: str


class CellResult(Config):
    """One cell's number with its n, seed, command, commit, versions, device and data hash."""

    version: int = Field(default=1, description="1 if recorded by nlft 0.1, whose hashes were of command lines")
    experiment: str
    split: str
    method: str
    size: int
    epoch: int | None
    seed: int
    fold: int | None = Field(default=None, description="the fold left out of the training rows")
    settings_hash: str = Field(description="hash of the settings of every step the cell depends on")
    sources_hash: str | None = Field(
        default=None, description="hash of the files those steps read: problems, responses, recorded answers, the model"
    )
    evaluation: Evaluation
    solved: dict[str, str] = Field(
        description="for each grader, one digit per problem (1: solved), in the order of their ids"
    )
    training: Training | None

    @property
    def cell(self) -> Cell:
        """Which cell it is."""
        return Cell(self.method, self.size, self.epoch, self.seed, self.fold)

    def solved_by(self, grader: Grade) -> dict[str, bool]:
        """Whether each problem was solved, by its position in the order of ids."""
        return {str(place): digit == "1" for place, digit in enumerate(self.solved[grader])}


def solved_digits(evaluation: Evaluation) -> dict[str, str]:
    """The `solved` field of an evaluation with its rows."""
    rows = sorted(evaluation.rows, key=lambda row: row.id)
    return {grader: "".join("1" if getattr(row, grader).correct else "0" for row in rows) for grader in GRADERS}


def result_path(folder: Path, split: str, cell: Cell) -> Path:
    """The path of a cell's result."""
    return folder / split / f"{cell.id}.json"


def write_result(folder: Path, result: CellResult) -> None:
    """Write one result, atomically, below a folder of results."""
    text = json.dumps(result.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    write_lines(result_path(folder, result.split, result.cell), [text])


def read_result(path: Path) -> CellResult:
    """Read one result.

    Raises:
        DataError: if it is damaged.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data["evaluation"] = strip_computed(data["evaluation"])
        return CellResult.model_validate(data)
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        what = str(error).splitlines()[0]
        raise DataError(f"not a results file: {what}", file=path, remedy="remove it and re-run") from None


def read_results(folder: Path, split: str, wanted: Iterable[Cell]) -> dict[Cell, CellResult]:
    """The available results of the given cells, in order."""
    paths = {cell: result_path(folder, split, cell) for cell in wanted}
    return {cell: read_result(path) for cell, path in paths.items() if path.exists()}
