"""GSM8K (Cobbe et al. 2021, arXiv 2110.14168): from the hub, or from its authors' JSONL files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from nlft.data.subset import subset_rows
from nlft.errors import ConfigError, DataError
from nlft.records import Problem, parse_record, read_objects

__all__ = ["gsm8k"]

Split = Literal["train", "test"]
HUB_NAME = "openai/gsm8k"
OFFICIAL = "https://github.com/openai/grade-school-math/tree/master/grade_school_math/data"


def gsm8k(split: str = "train", n: int | None = None, seed: int = 42, path: str | Path | None = None) -> list[Problem]:
    """GSM8K's problems, or the first n of one seeded shuffle.

    Args:
        split: "train" (7,473 problems) or "test" (1,319).
        n: How many; None means all, in the order of the file.
        seed: Of the shuffle; subsets of one seed are nested.
        path: A folder with the official train.jsonl and test.jsonl, or such a file; None means the hub.

    Returns:
        Problems with ids like `gsm8k-train-1458` (the row of the official file, from 0).

    Raises:
        ConfigError: for another split, or n out of range.
        DataError: when the hub cannot be reached, or a file is missing or damaged.
    """
    if split not in ("train", "test"):
        raise ConfigError(f'GSM8K has no split "{split}"', remedy='choose "train" or "test"')
    rows = _from_hub(split) if path is None else _from_files(Path(path), split)
    return [_problem(split, row, *rows[row]) for row in subset_rows(len(rows), n, seed)]


def _problem(split: str, row: int, content: Mapping[str, Any], file: str | Path, line: int) -> Problem:
    for field in ("question", "answer"):
        if field not in content:
            raise DataError(
                f'the field "{field}" is missing', file=file, line=line, remedy=f"give the official file: {OFFICIAL}"
            )
    problem = {
        "id": f"gsm8k-{split}-{row}",
        "question": content["question"],
        "reference": content["answer"],
    }
    return parse_record(problem, Problem, file=file, line=line)


def _from_files(path: Path, split: str) -> Sequence[tuple[Mapping[str, Any], str | Path, int]]:
    file = path / f"{split}.jsonl" if path.is_dir() else path
    rows = [(row, file, line) for line, row in read_objects(file)]
    if not rows:
        raise DataError("the file holds no rows", file=file, remedy=f"fetch it again: {OFFICIAL}")
    return rows


def _from_hub(split: str) -> Sequence[tuple[Mapping[str, Any], str | Path, int]]:
    from nlft.data.hub import load_hub_rows

    remedy = f"give --path FOLDER with the official train.jsonl and test.jsonl ({OFFICIAL})"
    rows = load_hub_rows(HUB_NAME, config="main", split=split, remedy=remedy)
    return [(row, f"{HUB_NAME}/{split}", number) for number, row in enumerate(rows, start=1)]
