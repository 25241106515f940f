"""Turn a recipe into steps."""

from __future__ import annotations

from pathlib import Path

from nlft.config import Config
from nlft.evaluate.config import EvaluateSettings
from nlft.pipeline.graph import Step
from nlft.pipeline.recipe import Preparation, Recipe, Rounds
from nlft.pipeline.select import Mixture, RowsSettings
from nlft.train.config import TrainSettings

__all__ = ["Plan", "plan"]


def plan(recipe: Recipe) -> list[Step]:
    """The steps of a recipe in order; this runs nothing, and inputs need not exist yet."""
    steps = Plan(recipe)
    judged = steps.prepare()
    if recipe.score is not None:
        scored = steps.add("score", recipe.score, (judged,), "scored.jsonl")
        steps.add("view", Config(), (scored,), "map.html")
    if recipe.revise is not None:
        judged = steps.add("revise", recipe.revise, (judged,), "revised.jsonl")
    adapter = None
    if recipe.train is not None:
        chosen = RowsSettings(rows=recipe.rows)
        rows = judged if recipe.rows == "all" else steps.add("rows", chosen, (judged,), "rows.jsonl")
        adapter = steps.add("train", recipe.train, (rows,), "adapter")
    if recipe.rounds is not None and recipe.train is not None and adapter is not None:
        adapter = _rounds(steps, recipe, recipe.rounds, recipe.train, judged, adapter)
    if recipe.test is not None:
        test = steps.data("test", recipe.test, "test.jsonl")
        steps.evaluate("before", recipe.evaluate, test, None)
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
