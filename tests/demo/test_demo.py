"""The demo: its recipe is a recipe, its recorded teacher answers every one of its problems, its tests stay unseen."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console
from tests.tiny import tiny_model

from nlft.data import gsm_symbolic
from nlft.demo import run_demo
from nlft.demo.demo import FOLDER, RECIPE
from nlft.files.yaml import read_yaml
from nlft.grade import grade_response
from nlft.pipeline.recipe import load_recipe
from nlft.records import Attempt, Problem, read_records


def made(section: str) -> list[Problem]:
    options = read_yaml(RECIPE)[section]
    kinds = [int(kind) for kind in str(options["kinds"]).split(",")]
    return gsm_symbolic(options["n"], options["seed"], kinds)


def test_every_problem_has_its_recorded_response() -> None:
    """Were the generator to change, the demo would lose its teacher: this would tell."""
    recorded = {row.question: row for row in read_records(FOLDER / "teacher.jsonl", Attempt)}
    problems = made("data")
    assert len(problems) >= 24
    assert [p.question for p in problems if p.question not in recorded] == []
    verdicts = Counter(grade_response(recorded[p.question].response, p.reference).correct for p in problems)
    assert verdicts[True] > 0
    assert verdicts[False] > 0


def test_no_problem_of_the_test_is_among_those_trained_on() -> None:
    test = made("test")
    assert len(test) >= 48
    assert not {p.question for p in test} & {p.question for p in made("data")}
    assert read_yaml(RECIPE)["test"]["seed"] not in {
        read_yaml(RECIPE)["data"]["seed"],
        1001,
    }  # 1001: where it was tuned


def test_the_recipe_loads() -> None:
    assert load_recipe(RECIPE).train is not None
    assert load_recipe(RECIPE).model == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_the_whole_demo_on_a_tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mechanics only: every stage, the two token views, the folder."""
    recipe = read_yaml(RECIPE)
    recipe["data"]["n"], recipe["test"]["n"] = 8, 3
    recipe["train"]["epochs"] = 1
    recipe["evaluate"]["max_new_tokens"] = 4
    import yaml

    for name in ("teacher.jsonl", "settings.yaml"):
        shutil.copy(FOLDER / name, tmp_path / name)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    monkeypatch.setattr("nlft.demo.demo.RECIPE", tmp_path / "recipe.yaml")
    model = tiny_model(tmp_path / "model")
    console = Console(record=True, width=100, force_terminal=False)
    out = tmp_path / "out"
    run_demo(out, model=str(model), console=console)
    text = console.export_text()
    assert "a correct response" in text
    assert "a wrong response" in text
    assert "strict" in text
    for name in ("problems", "answers", "graded", "judged", "scored", "test"):
        assert (out / f"{name}.jsonl").stat().st_size > 0, name
    for name in ("adapter/adapter_model.safetensors", "adapter/metrics.jsonl", "loss.png", "accuracy.png", "map.html"):
        assert (out / name).stat().st_size > 0, name
    before = (out / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    run_demo(out, model=str(model), console=console)  # again: nothing is run twice
    assert (out / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns == before
