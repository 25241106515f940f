"""The answer stage, out-of-fold answers included."""

from __future__ import annotations

from pathlib import Path

from nlft import processes
from nlft.answer import step as answering
from nlft.answer.config import AnswerSettings
from nlft.answer.types import Answerer
from nlft.errors import ConfigError
from nlft.out_of_fold.config import OutOfFoldSettings
from nlft.progress import Outcome
from nlft.records import Problem, read_records


def run(settings: AnswerSettings, problems: Path, output: Path) -> Outcome:
    """As `nlft.answer.step.run`; the adapters of the folds are in `<output stem>.folds`."""
    return answering.run(settings, problems, output, _answerer(settings, problems, output))


def dry_run(settings: AnswerSettings, problems: Path, output: Path) -> str:
    """As `nlft.answer.step.dry_run`."""
    line = answering.dry_run(settings, problems, output, _answerer(settings, problems, output))
    folds = settings.out_of_fold if isinstance(settings, OutOfFoldSettings) else None
    return f"{line}; models to train first: at most {folds}" if folds and "would send 0 " not in line else line


def _answerer(settings: AnswerSettings, problems: Path, output: Path) -> Answerer | None:
    if not isinstance(settings, OutOfFoldSettings) or settings.out_of_fold is None:
        return None
    if processes.count() > 1:
        told = f"out-of-fold answers are made in one process, but a launcher started {processes.count()}"
        raise ConfigError(told, remedy="start it without one")
    from nlft.out_of_fold.answerer import out_of_fold

    return out_of_fold(settings, list(read_records(problems, Problem)), output.with_name(f"{output.stem}.folds"))
