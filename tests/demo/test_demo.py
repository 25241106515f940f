"""The demo: its recipe is a recipe, its rows hold what they should, its test problems stay unseen."""

import shutil
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from tests.tiny import tiny_model

from nlft.data.reasoning_tasks import reasoning_task
from nlft.demo import run_demo, show_demo
from nlft.demo.demo import FOLDER, RECIPE
from nlft.files.yaml import read_yaml
from nlft.grade import grade_one, grade_response
from nlft.pipeline.recipe import load_recipe
from nlft.records import Attempt, Problem, read_records
from nlft.steps.arithmetic import equations
from nlft.steps.first_error import quoted_correction


def held_out() -> list[Problem]:
    options = read_yaml(RECIPE)["test"]
    return reasoning_task(options["task"], options["n"], options["seed"], options["config"])


def test_the_rows_are_ten_right_responses_and_forty_wrong_ones_with_words() -> None:
    rows = list(read_records(FOLDER / "rows.jsonl", Attempt))
    right = [row for row in rows if grade_one(row, "gsm8k-strict").verdict.correct]
    wrong = [row for row in rows if row not in right]
    assert (len(right), len(wrong)) == (10, 40)
    assert all((row.model_extra or {}).get("judgment") is None for row in right)
    assert all(quoted_correction((row.model_extra or {})["judgment"]) for row in wrong)
    for row in rows:
        assert row.reference.startswith("#### "), "a final answer, without working"
        assert all(step.verdict == "right" for step in equations(row.response)), "an error is a misreading, no slip"


def test_no_problem_of_the_test_is_among_those_trained_on() -> None:
    trained = {row.question for row in read_records(FOLDER / "rows.jsonl", Problem)}
    assert len(held_out()) >= 60
    assert not {problem.question for problem in held_out()} & trained
    assert read_yaml(RECIPE)["test"]["seed"] != 1001, "where it was tuned"
    assert all(grade_response(problem.reference, problem.reference).correct for problem in held_out())


def test_the_recipe_loads() -> None:
    recipe = load_recipe(RECIPE)
    assert recipe.train is not None
    assert recipe.revise is not None
    assert recipe.model == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_the_whole_demo_on_a_tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mechanics only: every stage, the token views, the revision, the folder."""
    recipe = read_yaml(RECIPE)
    recipe["test"]["n"], recipe["train"]["max_steps"], recipe["evaluate"]["max_new_tokens"] = 3, 2, 4
    recipe["revise"] |= {"samples": 2, "max_new_tokens": 4}
    shutil.copy(FOLDER / "rows.jsonl", tmp_path / "rows.jsonl")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    monkeypatch.setattr("nlft.demo.demo.RECIPE", tmp_path / "recipe.yaml")
    model = tiny_model(tmp_path / "model")
    console = Console(record=True, width=100, force_terminal=False)
    out = tmp_path / "out"
    show_demo(out, run_demo(out, model=str(model)), console)
    text = console.export_text()
    for told in ("a correct response", "a wrong response", "strict", "all-rows", "After vs. all-rows"):
        assert told in text, told
    for name in ("problems", "graded", "scored", "revised", "test"):
        assert (out / f"{name}.jsonl").stat().st_size > 0, name
    for name in ("adapter/adapter_model.safetensors", "adapter/metrics.jsonl", "loss.png", "accuracy.png", "map.html"):
        assert (out / name).stat().st_size > 0, name
    before = (out / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    run_demo(out, model=str(model))  # again: nothing is run twice
    assert (out / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns == before
