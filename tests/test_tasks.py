"""A task fills what is not given, in commands and recipes alike."""

from pathlib import Path

from nlft.evaluate.config import EvaluateSettings
from nlft.evaluate.evaluation import Accuracy
from nlft.judge.config import JudgeSettings
from nlft.pipeline.experiment import load_experiment
from nlft.pipeline.recipe import load_recipe
from nlft.prompts import available
from nlft.tasks import TASKS
from nlft.train.config import TrainSettings

RECIPE = """\
name: tickets
model: M
task: label
data: {source: train.jsonl}
test: {source: test.jsonl}
"""


def test_every_task_has_its_prompts_and_rules() -> None:
    assert {task.prompts for task in TASKS.values()} <= {*available()}
    assert EvaluateSettings(model="M", task="label").grader == "label"
    assert EvaluateSettings(model="M", task="label", grader="exact", prompts="short").prompts == "short"
    assert (EvaluateSettings(model="M", task="math").grader, EvaluateSettings(model="M").prompts) == (None, "paper")
    assert TrainSettings(model="M", task="json").prompts == "json"
    assert JudgeSettings(task="json").rules == "json"
    assert JudgeSettings(task="json", judge="self", model="M").rules == "auto"
    assert Accuracy(count=1, n=2).share == 0.5


def test_a_recipes_task_reaches_every_section(tmp_path: Path) -> None:
    file, labels = tmp_path / "recipe.yaml", tmp_path / "labels.yaml"
    labels.write_text("labels: [a, b]")
    file.write_text(RECIPE + "answer: {}\nrevise: {}\n")
    recipe = load_recipe(file)
    assert recipe.answer is not None
    assert recipe.judge is not None
    assert recipe.train is not None
    assert recipe.revise is not None
    assert {s.prompts for s in (recipe, recipe.answer, recipe.judge, recipe.train, recipe.evaluate)} == {"label"}
    assert [recipe.grade.grader, recipe.evaluate.grader, recipe.revise.grader] == ["label"] * 3
    assert recipe.judge.rules == "label"
    file.write_text(RECIPE + "grade: {grader: label:labels.yaml, threshold: 0.5}\n")
    recipe = load_recipe(file)
    assert recipe.evaluate.grader == recipe.grade.grader != "label"
    assert recipe.evaluate.threshold == 0.5


def test_an_experiments_task_reaches_every_method(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    methods = "methods: {base: {train: null}, sft: {train: {objective: sft}}}\nsizes: [2]\ntitle: t\njudge: null\n"
    file.write_text(RECIPE.replace("task: label", "task: json") + methods)
    experiment = load_experiment(file)
    sft = experiment.methods["sft"]
    assert sft.train is not None
    assert (sft.train.prompts, sft.evaluate.grader, sft.evaluate.prompts) == ("json", "json", "json")
    assert experiment.methods["base"].evaluate.grader == "json"
