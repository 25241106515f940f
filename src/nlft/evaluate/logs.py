"""Runs that other tools recorded, or that `nlft grade` graded: who solved what, by each of their measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nlft.config import did_you_mean
from nlft.data.file_formats import file_format_of
from nlft.data.load import Reader
from nlft.errors import ConfigError, DataError
from nlft.evaluate.compare import Comparison, compare_solved, correct
from nlft.records import Graded

SHOWN = 3


@dataclass(frozen=True)
class Run:
    """One run's verdicts.

    Attributes:
        file: Where it was read.
        problems: What tells a problem apart, by its id.
        solved: For each measure, whether each problem (by id) was solved, with full credit.
    """

    file: Path
    problems: Mapping[str, str]
    solved: Mapping[str, Mapping[str, bool]]


def is_log(path: Path) -> bool:
    """Whether a file holds verdicts row by row: a log of lm-eval or Inspect, or rows that `nlft grade` wrote."""
    return file_format_of(path) in ("jsonl", "lm-eval", "inspect")


def read_run(path: Path) -> Run:
    """The verdicts of a log, by measure.

    Raises:
        DataError: with file and line, for a row without a verdict, and where a problem occurs twice.
    """
    problems: dict[str, str] = {}
    solved: dict[str, dict[str, bool]] = {}
    for line, row in Reader(path).records():
        if not isinstance(row, Graded):
            remedy = "give an evaluation, a log of samples, or rows that `nlft grade` wrote"
            raise DataError(f"{row.id} has no verdict", file=path, line=line, remedy=remedy)
        told = row.model_extra or {}
        problems[row.id] = told.get("doc_hash") or f"{row.question}\n{row.reference}"
        for name, verdict in (row.grades or {"verdict": row.verdict}).items():
            solved.setdefault(name, {})[row.id] = verdict.correct
    return Run(path, problems, {name: each for name, each in solved.items() if len(each) == len(problems)})


def compare_runs(runs: Sequence[Run], names: Sequence[str], measure: str | None = None) -> list[Comparison]:
    """Each run against the first, problem by problem, by each measure that all have; Holm-corrected within a measure.

    Args:
        runs: Two or more; the first is the baseline.
        names: What they are called.
        measure: The only measure to compare by.

    Raises:
        DataError: if they answered different problems.
        ConfigError: if they have no measure in common, or not that one.
    """
    first, *others = runs
    for run in others:
        _refuse_others(first, run)
    shared = [name for name in first.solved if all(name in run.solved for run in others)]
    if not shared or measure not in (None, *shared):
        if shared and measure is not None:
            raise ConfigError(f'there is no measure "{measure}"', remedy=did_you_mean(measure, shared))
        held = "; ".join(f"{name} has {', '.join(run.solved)}" for name, run in zip(names, runs, strict=True))
        raise ConfigError(f"the runs have no measure in common: {held}", remedy="grade them alike")
    made = []
    for each in [measure] if measure is not None else shared:
        sides = [(name, run.solved[each]) for name, run in zip(names[1:], others, strict=True)]
        made += correct(
            [compare_solved([first.solved[each]], [own], grader=each, names=(names[0], name)) for name, own in sides]
        )
    return made


def _refuse_others(a: Run, b: Run) -> None:
    """Refuse runs on different problems, with a few of those in which they differ."""
    only = [sorted(set(one.problems) - set(other.problems)) for one, other in ((a, b), (b, a))]
    apart = sorted(name for name in set(a.problems) & set(b.problems) if a.problems[name] != b.problems[name])
    if not (any(only) or apart):
        return
    told = [f"{len(ids)} only in {run.file.name} ({_few(ids)})" for run, ids in zip((a, b), only, strict=True) if ids]
    told += [f"{len(apart)} that differ ({_few(apart)})"] if apart else []
    raise DataError(
        f"{a.file.name} and {b.file.name} answered different problems: {', '.join(told)}",
        file=b.file,
        remedy="compare two runs on the same problems, with the same limit",
    )


def _few(ids: Sequence[str]) -> str:
    return ", ".join(ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")
