"""Who answers out of fold, and the training of its models."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nlft.answer.local import LocalAnswerer
from nlft.answer.types import Answerer, OnReply, Request
from nlft.data.folds import fold_numbers
from nlft.errors import ConfigError, DataError
from nlft.files import write_lines
from nlft.out_of_fold.config import OutOfFoldSettings
from nlft.provenance import digest
from nlft.records import Judged, Problem, Verdict, parse_record
from nlft.train.config import TrainSettings
from nlft.train.step import train_rows

Trained = Callable[[int, Sequence[Problem]], Answerer]
"""Given a fold's number and the rows of all other folds, returns who answers that fold."""


class OutOfFold:
    """An answerer that lets each problem be answered by a model that was not trained on it.

    A fold's model is trained when the first reply from it is needed, so a finished run trains nothing.

    Args:
        problems: What to train on and to solve.
        trained: Trains the model of a fold.
        folds: Their number.
        seed: Of the draw that splits the problems.
        name: Who answers, for the records.
        decides: What decides the replies of all models, besides the problems and their folds.
    """

    cacheable = True

    def __init__(
        self,
        problems: Sequence[Problem],
        trained: Trained,
        *,
        folds: int,
        seed: int = 0,
        name: str = "out-of-fold",
        decides: dict[str, Any] | None = None,
    ) -> None:
        self.name, self.folds = name, folds
        self._problems, self._trained = list(problems), trained
        numbers = fold_numbers(problems, folds, seed)
        self._fold = {row.question: number for row, number in zip(problems, numbers, strict=True)}
        rows = [[self._fold[row.question], row.model_dump(mode="json")] for row in problems]
        self._settings = {"answerer": "out-of-fold", "rows": digest(rows), **(decides or {})}

    def settings(self) -> dict[str, Any]:
        """The rows, their folds, and what decides training and answers."""
        return self._settings

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Fold by fold: train, then answer."""
        for number in range(self.folds):
            asked = [request for request in requests if self._fold[request.row.question] == number]
            if asked:
                rest = [row for row in self._problems if self._fold[row.question] != number]
                self._trained(number, rest).reply(asked, on_reply)


class FoldTrainer:
    """Trains the model of each fold in a folder of its own; a finished one is kept, an interrupted one continued.

    Args:
        settings: How to answer and train.
        folder: Holds `fold-0`, `fold-1`, ...
    """

    def __init__(self, settings: OutOfFoldSettings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.training: TrainSettings = settings.fold_training()

    def __call__(self, number: int, rest: Sequence[Problem]) -> Answerer:
        """Train, if there is still something to train, and return the model."""
        home = self.folder / f"fold-{number}"
        mark, fingerprint = home / "fold.txt", digest([self.training.identity(), [row.model_dump() for row in rest]])
        begun = mark.exists() and mark.read_text("utf-8").strip() == fingerprint
        if not (begun and (home / "train.json").exists()):
            rows = _training_rows(rest, self.training.target)
            if not begun:
                shutil.rmtree(home, ignore_errors=True)
                write_lines(mark, [fingerprint])
            train_rows(self.training, rows, home, resume=begun, overwrite=True)
            for checkpoint in home.glob("checkpoint-*"):
                shutil.rmtree(checkpoint)  # the adapter is all that is needed from here on
        return LocalAnswerer(str(self.settings.model), self.settings, adapter=home, load=self.settings)


def out_of_fold(settings: OutOfFoldSettings, problems: Sequence[Problem], folder: Path) -> OutOfFold:
    """The answerer of `settings.out_of_fold`; the folds' adapters go to `folder`.

    Raises:
        ConfigError: for a missing model, or more folds than questions.
    """
    if settings.model is None or settings.out_of_fold is None:
        raise ConfigError("out-of-fold answers need a model to train", remedy="name one with --model")
    training = settings.fold_training()
    untrained = LocalAnswerer(settings.model, settings, load=settings)
    prompts = digest(training.prompt_set().model_dump(mode="json"))
    return OutOfFold(
        problems,
        FoldTrainer(settings, folder),
        folds=settings.out_of_fold,
        seed=settings.seed,
        name=f"{untrained.name}+out-of-fold",
        decides={**untrained.settings(), "answerer": "out-of-fold", "training": training.identity(), "words": prompts},
    )


def _training_rows(problems: Sequence[Problem], target: str) -> list[Judged]:
    """The problems as rows to train on; for the target "reference", the standard answers are their responses.

    Raises:
        DataError: for a row without a graded response, where the responses are to be trained on.
    """
    rows = []
    for number, problem in enumerate(problems, start=1):
        row = problem.model_dump()
        if target == "reference":
            verdict = Verdict(correct=True, reason="the standard answer").model_dump()
            row |= {"response": problem.reference, "finish_reason": "stop", "verdict": verdict, "judgment": None}
        elif "verdict" not in row:
            raise DataError(
                f"row {problem.id!r} has no graded response to train on",
                remedy="train on the standard answers (target=reference), or grade and judge the rows first",
            )
        rows.append(parse_record(row, Judged, file="the problems", line=number))
    return rows
