"""What each verb of a recipe does: the stage's own function, called with settings and files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from nlft.progress import Outcome


@dataclass(frozen=True)
class Runner:
    """A stage's function `(settings, *inputs, output) -> Outcome`, as `module:name` to load nothing heavy.

    Attributes:
        light: Whether it runs without its own process.
        resumes: Whether it takes `resume` and `overwrite`, like training.
        replaces: Whether it takes `overwrite`, like evaluation.
    """

    function: str
    light: bool = False
    resumes: bool = False
    replaces: bool = False

    def load(self) -> Callable[..., Outcome]:
        """The function."""
        module, _, name = self.function.partition(":")
        function: Callable[..., Outcome] = getattr(import_module(module), name)
        return function


RUNNERS = {
    "data": Runner("nlft.data.step:run"),
    "answer": Runner("nlft.out_of_fold.step:run"),
    "grade": Runner("nlft.grade.step:run"),
    "judge": Runner("nlft.judge.step:run"),
    "revise": Runner("nlft.revise.step:run"),
    "score": Runner("nlft.score.step:run"),
    "view": Runner("nlft.saliency_map.export:page_file"),
    "train": Runner("nlft.train.step:run", resumes=True),
    "evaluate": Runner("nlft.evaluate.step:run", replaces=True),
    "rows": Runner("nlft.pipeline.select:rows_file", light=True),
    "held-out": Runner("nlft.pipeline.folds:held_out_file", light=True),
    "leave-out": Runner("nlft.pipeline.select:leave_out_file", light=True),
    "select": Runner("nlft.pipeline.select:select_file", light=True),
    "best": Runner("nlft.pipeline.select:best_file", light=True),
}


def run_verb(verb: str, settings: Any, inputs: Sequence[Path], output: Path, resume: bool) -> Outcome:
    """Run a stage: resume one started with the same settings, replace any other."""
    runner = RUNNERS[verb]
    flags: dict[str, bool] = {}
    if runner.resumes:
        flags = {"resume": resume, "overwrite": not resume}
    elif runner.replaces:
        flags = {"overwrite": not resume}
    return runner.load()(settings, *inputs, output, **flags)
