"""What each verb of a recipe does: the stage's own function, called with settings and files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module

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

    def load(self, *, resume: bool) -> Callable[..., Outcome]:
        """The function, told to resume what was begun with the same settings, and to replace anything else."""
        module, _, name = self.function.partition(":")
        flags = {"overwrite": not resume} if self.resumes or self.replaces else {}
        flags |= {"resume": resume} if self.resumes else {}
        return partial(getattr(import_module(module), name), **flags)


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
