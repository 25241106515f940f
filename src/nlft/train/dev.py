"""Graded answers while training: problems that choose the best checkpoint, end the run, or find the number of epochs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from nlft import processes
from nlft.data.folds import fold_numbers
from nlft.files import read_objects
from nlft.grade import get_grader
from nlft.lm.config import SamplingSettings
from nlft.lm.encode import encode_prompt
from nlft.lm.generate import generate
from nlft.lm.load import LanguageModel
from nlft.prompts import Context, PromptSet
from nlft.records import Attempt, Judged, Problem

logger = logging.getLogger("nlft")
ACCURACY = "eval_accuracy"


class Dev:
    """Problems that the model answers greedily while it is trained.

    Args:
        problems: What to solve.
        lm: The model that is trained, with its tokenizer.
        prompts: The text around a question.
        grader: Decides which answers are right.
        max_new_tokens: The longest answer, in tokens.

    Raises:
        DataError: for a reference that cannot be graded against.
    """

    def __init__(
        self, problems: Sequence[Problem], lm: LanguageModel, prompts: PromptSet, *, grader: str, max_new_tokens: int
    ) -> None:
        self.problems, self.lm, self.grade = list(problems), lm, get_grader(grader)
        self.sampling = SamplingSettings(temperature=0.0, max_new_tokens=max_new_tokens)
        self.prompts = []
        for problem in self.problems:
            self.grade(Attempt.model_validate({**dict(problem), "response": ""}))
            context = Context.of(problem)
            self.prompts.append(encode_prompt(lm.tokenizer, prompts.base(problem.question, context), context.tools))

    def __len__(self) -> int:
        return len(self.problems)

    def measure(self, model: Any) -> dict[str, float]:
        """The shares of right answers and of those cut off; each process answers its share of the problems."""
        lm = LanguageModel(model, self.lm.tokenizer, self.lm.name)
        mine = range(processes.rank(), len(self), processes.count())
        right = cut = 0
        for completion in generate(lm, [self.prompts[place] for place in mine], self.sampling):
            problem = self.problems[mine[completion.index]]
            right += self.grade(Attempt.model_validate({**dict(problem), "response": completion.text})).correct
            cut += completion.finish_reason == "length"
        counted = processes.gather((right, cut))
        if sum(each for _, each in counted) == len(self):
            logger.warning(
                "no answer to a dev problem ended before %d tokens: the stop token never came",
                self.sampling.max_new_tokens,
            )
        shares = [sum(each) / len(self) for each in zip(*counted, strict=True)]
        return {ACCURACY: shares[0], "eval_hit_length": shares[1], "eval_n": len(self)}


class Patience(TrainerCallback):  # type: ignore[misc]
    """Ends training once so many evaluations in a row have not beaten the best one."""

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Read from the log, which a resumed run has, too."""
        scores = [row[ACCURACY] for row in state.log_history if ACCURACY in row]
        if scores and len(scores) - 1 - scores.index(max(scores)) >= self.patience:
            control.should_training_stop = True


class StopAfter(TrainerCallback):  # type: ignore[misc]
    """Ends training after so many epochs, on the learning rates of a longer run."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop without a checkpoint, from which a resumed run would train on."""
        if state.epoch > self.epochs - 1e-6:
            control.should_training_stop, control.should_save = True, False

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """As above: the default has decided to save again."""
        self.on_step_end(args, state, control)


def accuracy_by_epoch(
    rows: Sequence[Judged],
    folds: int,
    seed: int,
    folder: Path,
    train: Callable[[list[Judged], list[Judged], Path], Any],
) -> list[float]:
    """The share of the rows' questions that models trained on the other folds solve, after each epoch.

    Args:
        rows: The training rows; those of one question share a fold.
        folds: How many.
        seed: Decides which.
        folder: Gets a folder for each fold; a finished one is kept.
        train: Trains on the first rows, measuring on the second ones after each epoch, in a folder.

    Raises:
        DataError: if there are fewer questions than folds.
    """
    numbers = fold_numbers(rows, folds, seed)
    right: list[float] = []
    for fold in range(folds):
        home = folder / str(fold)
        rest = [row for row, number in zip(rows, numbers, strict=True) if number != fold]
        held_out = [row for row, number in zip(rows, numbers, strict=True) if number == fold]
        if not processes.first((home / "train.json").exists):
            train(rest, held_out, home)
        curve = [row[ACCURACY] * len(held_out) for _, row in read_objects(home / "metrics.jsonl") if ACCURACY in row]
        right = [a + b for a, b in zip(right, curve, strict=True)] if right else curve
    return [each / len(rows) for each in right]
