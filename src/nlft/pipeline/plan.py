"""Turn a recipe, or the cells of an experiment, into steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from nlft.config import Config
from nlft.errors import ConfigError
from nlft.evaluate.config import EvaluateSettings
from nlft.pipeline.experiment import Cell, Experiment, Split, cells, fold_list
from nlft.pipeline.folds import Fold
from nlft.pipeline.graph import Step
from nlft.pipeline.recipe import Preparation, Recipe, Rounds
from nlft.pipeline.select import Mixture, RowsSettings
from nlft.train.config import TrainSettings

ALL = 10_000  # checkpoints: more than a run has


def plan(recipe: Recipe) -> list[Step]:
    """The steps of a recipe in order; this runs nothing, and inputs need not exist yet."""
    steps = Plan(recipe)
    judged = steps.prepare()
    if recipe.score is not None:
        scored = steps.add("score", recipe.score, (judged,), "scored.jsonl")
        steps.add("view", Config(), (scored,), "map.html")
    student = adapter = None
    if recipe.revise is not None:
        if recipe.revise.first != "untouched" and recipe.train is not None:
            student = steps.student(judged, recipe.train, recipe.revise.first)
        judged = steps.add("revise", recipe.revise.stage(student), (judged,), "revised.jsonl")
    if recipe.train is not None:
        chosen = RowsSettings.of(recipe.rows, recipe.prompts, mix=recipe.mix)
        whole = recipe.rows == "all" and recipe.mix is None
        rows = judged if whole else steps.add("rows", chosen, (judged,), "rows.jsonl")
        adapter = steps.add("train", recipe.train, (rows,), "adapter")
    if recipe.rounds is not None and recipe.train is not None and adapter is not None:
        adapter = _rounds(steps, recipe, recipe.rounds, recipe.train, judged, adapter)
    if recipe.test is not None:
        test = steps.data("test", recipe.test, "test.jsonl")
        steps.evaluate("before", recipe.evaluate, test, None)
        if recipe.revise is not None and student is not None:
            steps.evaluate(f"{recipe.revise.first}-rows", recipe.evaluate, test, student)
        if adapter is not None:
            steps.evaluate("after", recipe.evaluate, test, adapter)
    return steps.steps


class Plan:
    """Collects the steps of a run."""

    def __init__(self, recipe: Preparation) -> None:
        self.recipe, self.folder = recipe, recipe.folder
        self.steps: list[Step] = []

    def add(
        self, verb: str, settings: Config, inputs: tuple[Path, ...], output: str, *, name: str | None = None
    ) -> Path:
        """Add a step, and return the path of its output."""
        self.steps.append(Step(name or verb, verb, settings, inputs, self.folder / output))
        return self.steps[-1].output

    def data(self, name: str, settings: Config, output: str) -> Path:
        """Add the step that makes problems from a source."""
        return self.add("data", settings, (), output, name=name)

    def prepare(self) -> Path:
        """Add the steps up to the judged rows, and return their path."""
        rows = self.data("data", self.recipe.data, "problems.jsonl")
        if self.recipe.answer is not None:
            rows = self.add("answer", self.recipe.answer, (rows,), "answers.jsonl")
        graded = self.add("grade", self.recipe.grade, (rows,), "graded.jsonl")
        return self.judge(graded, "judged.jsonl")

    def judge(self, graded: Path, output: str, name: str = "judge", adapter: Path | None = None) -> Path:
        """Add the judge step; if the student is the judge, it uses its current adapter."""
        settings = self.recipe.judge
        if settings is None:
            return graded
        if settings.judge == "self" and adapter is not None:
            settings = settings.model_copy(update={"adapter": str(adapter)})
        return self.add("judge", settings, (graded,), output, name=name)

    def student(
        self, judged: Path, train: TrainSettings, which: Literal["correct", "all"], name: str = "student"
    ) -> Path:
        """Add the training of a model that is to revise the wrong rows, and return its adapter."""
        rows = judged
        if which == "correct":
            rows = self.add("rows", RowsSettings(rows=which), (judged,), f"{name}.jsonl", name=f"rows-{name}")
        return self.add("train", train, (rows,), name, name=f"train-{name}")

    def evaluate(self, name: str, settings: EvaluateSettings, problems: Path, adapter: Path | None) -> Path:
        """Add the evaluation of the model, or of an adapter on it."""
        if adapter is not None:
            settings = settings.model_copy(update={"adapter": str(adapter)})
        return self.add("evaluate", settings, (problems,), f"{name}.json", name=name)


def _rounds(steps: Plan, recipe: Recipe, rounds: Rounds, train: TrainSettings, judged: Path, adapter: Path) -> Path:
    """Add the steps of every round of self-study, and return the folder of the best round's adapter.

    Round 0 is the first training; each later round trains a new adapter on the answers of the previous one. Only
    new answers cost anything, because replies are cached by model, adapter and question.
    """
    problems = steps.folder / "problems.jsonl"
    pool = steps.data("dev", rounds.dev, "dev-pool.jsonl")
    dev = steps.add("leave-out", Config(), (pool, problems), "dev.jsonl")
    evaluations = [steps.evaluate("dev-0", recipe.evaluate, dev, adapter)]
    adapters = [adapter]
    for number in range(1, rounds.k + 1):
        home, last = f"round-{number}", adapters[-1]
        seed = recipe.seed + number
        changes = {"adapter": str(last)} | ({} if "seed" in rounds.answer.model_fields_set else {"seed": seed})
        asked = rounds.answer.model_copy(update=changes)
        answers = steps.add("answer", asked, (problems,), f"{home}/answers.jsonl", name=f"{home}-answer")
        graded = steps.add("grade", recipe.grade, (answers,), f"{home}/graded.jsonl", name=f"{home}-grade")
        own = steps.judge(graded, f"{home}/judged.jsonl", f"{home}-judge", last)
        if rounds.revise is not None:
            changes = {"adapter": str(last)} | ({} if "seed" in rounds.revise.model_fields_set else {"seed": seed})
            revise = rounds.revise.model_copy(update=changes)
            own = steps.add("revise", revise, (own,), f"{home}/revised.jsonl", name=f"{home}-revise")
        mixture = Mixture(incorrect_share=rounds.incorrect_share, teacher_share=rounds.teacher_share, seed=seed)
        rows = steps.add("select", mixture, (own, judged), f"{home}/rows.jsonl", name=f"{home}-select")
        adapters.append(steps.add("train", train, (rows,), f"{home}/adapter", name=f"{home}-train"))
        evaluations.append(steps.evaluate(f"dev-{number}", recipe.evaluate, dev, adapters[-1]))
    return steps.add("best", Config(), (*evaluations, *adapters), "best")


class Run(NamedTuple):
    """One training run, and the cells evaluated on it."""

    train: tuple[Step, ...]  # rows and training; none for the untrained model
    evaluations: dict[Cell, Step]
    judge: tuple[Step, ...] = ()  # the method's own judge, whose judgments its runs share


def plan_cells(experiment: Experiment, split: Split, *, file: str | Path | None = None) -> tuple[list[Step], list[Run]]:
    """The steps that all cells share, and the training runs; this runs nothing.

    Raises:
        ConfigError: if the split has no section.
    """
    shared = Plan(experiment)
    judged = shared.prepare()
    problems = _problems(experiment, split, shared, judged, file)
    judges = {name: _judge(experiment, name) for name in experiment.methods}
    runs: dict[tuple[str, int], Run] = {}
    for cell in cells(experiment, split):
        key = (cell.run, cell.seed)
        if key not in runs:
            judge = judges[cell.method]
            training = _training(experiment, cell, judge[-1].output if judge else judged)
            runs[key] = Run(training, {}, judge)
        runs[key].evaluations[cell] = _evaluation(experiment, cell, split, problems[cell.fold], runs[key].train)
    return shared.steps, list(runs.values())


def _problems(
    experiment: Experiment, split: Split, shared: Plan, judged: Path, file: str | Path | None
) -> dict[int | None, Path]:
    """Add the steps that make a split's problems, and return their paths by fold."""
    source = getattr(experiment, split)
    if split == "dev" and experiment.folds is not None:
        return {
            number: shared.add("held-out", fold, (judged,), f"folds/{number}.jsonl", name=f"fold-{number}")
            for number in fold_list(experiment, split)
            if (fold := _fold(experiment, number)) is not None
        }
    if source is None:
        raise ConfigError(
            f"the experiment has no section `{split}`", file=file, remedy="add it, or use the other split"
        )
    problems = shared.data(split, source, "test.jsonl" if split == "test" else "dev-pool.jsonl")
    if split == "dev":  # training problems do not show what the model learned
        problems = shared.add("leave-out", Config(), (problems, shared.folder / "problems.jsonl"), "dev.jsonl")
    return {None: problems}


def _fold(experiment: Experiment, number: int | None) -> Fold | None:
    if number is None or experiment.folds is None:
        return None
    return Fold(folds=experiment.folds, fold=number, seed=experiment.seed)


def _judge(experiment: Experiment, name: str) -> tuple[Step, ...]:
    """The step of a method's own judge, if it has one."""
    steps = Plan(experiment)
    judge = experiment.methods[name].judge
    if judge is not None:
        steps.add("judge", judge, (steps.folder / "graded.jsonl",), f"judged-{name}.jsonl", name=f"judge-{name}")
    return tuple(steps.steps)


def _training(experiment: Experiment, cell: Cell, judged: Path) -> tuple[Step, ...]:
    method = experiment.methods[cell.method]
    if method.train is None:
        return ()
    steps = Plan(experiment)
    share = method.incorrect_share if method.incorrect_share is not None else experiment.incorrect_share
    fold = _fold(experiment, cell.fold)
    rows = RowsSettings.of(method.rows, experiment.prompts, cell.size, fold, share, method.mix)
    name = f"{method.rows}-{cell.size}" + ("" if share is None else f"-{share:g}")
    own = method.judge is not None or method.mix is not None
    name += (f"-{cell.method}" if own else "") + ("" if cell.fold is None else f"-f{cell.fold}")
    problems = steps.folder / "problems.jsonl"
    chosen = steps.add("rows", rows, (judged, problems), f"rows/{name}.jsonl", name=f"rows-{name}")
    last = experiment.last_epoch
    changes: dict[str, Any] = {"seed": cell.seed}
    changes |= {"epochs": float(last)} if last is not None else {}
    changes |= {"keep_checkpoints": last or ALL} if experiment.between else {}
    settings = method.train.model_copy(update=changes)
    run = f"{cell.run}-s{cell.seed}"
    if method.revise is not None:
        first = method.revise.first
        student = steps.student(chosen, settings, first, f"student-{run}") if first != "untouched" else None
        revise = method.revise.stage(student, cell.seed)
        chosen = steps.add("revise", revise, (chosen,), f"rows/revised-{run}.jsonl", name=f"revise-{run}")
    steps.add("train", settings, (chosen,), f"adapters/{run}", name=f"train-{run}")
    return tuple(steps.steps)


def _evaluation(experiment: Experiment, cell: Cell, split: Split, problems: Path, training: Sequence[Step]) -> Step:
    changes: dict[str, object] = {"seed": cell.seed}
    if training:
        changes["adapter"] = str(training[-1].output)
    settings = experiment.methods[cell.method].evaluate.model_copy(update=changes)
    name = f"{split}-{cell.id}"
    inputs = (problems,)
    return Step(name, "evaluate", settings, inputs, experiment.folder / "evaluations" / f"{name}.json")
